-- name: mirror_changes
-- Changes, those of days that left too, as the feed's columns have them.
SELECT market, (extract(epoch FROM exchange_ts) * 1000)::bigint, ordinal, exchange_us, side, price, delta, (extract(epoch FROM received_at) * 1000000)::bigint
  FROM store.deltas
UNION ALL
SELECT market, (extract(epoch FROM exchange_ts) * 1000)::bigint, ordinal, exchange_us, side, price, delta, (extract(epoch FROM received_at) * 1000000)::bigint
  FROM store.late_deltas

-- name: mirror_trades
-- Trades, as the feed's columns have them.
SELECT trade_id, market, (extract(epoch FROM exchange_ts) * 1000)::bigint, ordinal, yes_price, count, taker_side, is_block,
       (extract(epoch FROM received_at) * 1000000)::bigint, source FROM store.trades

-- name: mirror_tickers
-- Ticks, as the feed's columns have them.
SELECT market, (extract(epoch FROM exchange_ts) * 1000)::bigint, price, yes_bid, yes_ask, yes_bid_size, yes_ask_size, volume,
       open_interest, (extract(epoch FROM received_at) * 1000000)::bigint FROM store.tickers

-- name: mirror_lifecycle
-- Lifecycle messages, as the feed's columns have them.
SELECT market, event_type, (extract(epoch FROM exchange_ts) * 1000)::bigint, payload::text, (extract(epoch FROM received_at) * 1000000)::bigint
  FROM store.lifecycle

-- name: mirror_books
-- Books of known places, without those that are folded here, as the feed's columns have them.
SELECT market, (extract(epoch FROM exchange_ts) * 1000)::bigint, after_ordinal, is_reset, (extract(epoch FROM taken_at) * 1000000)::bigint,
       coalesce(yes, '{}'), coalesce(no, '{}'), verified
  FROM store.snapshots WHERE source <> 'checkpoint'

-- name: mirror_gaps
-- Gaps that no copy has healed, as the feed's columns have them.
SELECT market, channel, (extract(epoch FROM started_at) * 1000)::bigint, (extract(epoch FROM ended_at) * 1000)::bigint, reason, refilled_at IS NOT NULL
  FROM store.gaps WHERE healed_at IS NULL

-- name: mirror_unplaced
-- Rows without a place, as the feed's columns have them.
SELECT gatherer, session, sid, seq, lane, run, market, (extract(epoch FROM exchange_ts) * 1000)::bigint, exchange_us, side, price,
       delta, (extract(epoch FROM received_at) * 1000000)::bigint FROM store.unplaced

-- name: mirror_conflicts
-- Contradictions, as the feed's columns have them.
SELECT kind, market, (extract(epoch FROM exchange_ts) * 1000)::bigint, versions::text FROM store.conflicts

-- name: mirror_lines
-- Time lines, as the feed's columns have them.
SELECT market, (extract(epoch FROM first_seen) * 1000)::bigint, (extract(epoch FROM ended_at) * 1000)::bigint
  FROM store.lines WHERE first_seen IS NOT NULL

-- name: detached_days
-- Days whose changes have left production, in days since 1970.
SELECT day - date '1970-01-01' FROM store.detached
