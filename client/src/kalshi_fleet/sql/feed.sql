-- name: feed_numbers
-- Numbers of markets by ticker.
SELECT market, ticker FROM store.markets WHERE ticker = ANY ($1::text[])

-- name: feed_tickers
-- Tickers of markets by number.
SELECT market, ticker FROM store.markets WHERE market = ANY ($1::bigint[])

-- name: feed_ends
-- The oldest step that is kept, and the last one that there is.
SELECT (SELECT min(step) FROM store.feed) AS oldest, (SELECT step FROM store.lease) AS newest

-- name: feed_read
-- The steps from a place on, the place itself without its block: so many, and only so many bytes of
-- blocks, but one at least.
SELECT step, committed_at, kind, rows, from_ms, to_ms, CASE WHEN step > $1 THEN block END AS block
  FROM (SELECT f.*, sum(CASE WHEN step > $1 THEN coalesce(octet_length(block), 0) ELSE 0 END) OVER (ORDER BY step) AS size,
               coalesce(octet_length(block), 0) AS own
          FROM (SELECT * FROM store.feed WHERE step >= $1 ORDER BY step LIMIT $2) f) s
 WHERE size <= $3 OR size = own OR step <= $1 + 1
 ORDER BY step

-- name: feed_archived
-- The first object of the archive with this step or later ones.
SELECT object FROM store.feed_hours WHERE archived_at IS NOT NULL AND last_step >= $1 ORDER BY hour LIMIT 1

-- name: feed_now
-- The last step, and when it was committed (null: its row has left the feed).
SELECT l.step, f.committed_at FROM store.lease l LEFT JOIN store.feed f ON f.step = l.step

-- name: feed_base
-- The book that a market's changes are folded onto, as store.fold chooses it for a moment after all of them.
SELECT (extract(epoch FROM exchange_ts) * 1000)::bigint AS exchange_ms, after_ordinal, is_reset, yes, no
  FROM store.snapshots s
 WHERE market = $1 AND verified IS NOT FALSE
 ORDER BY exchange_ts DESC, after_ordinal DESC, is_reset DESC, source = 'checkpoint'
 LIMIT 1

-- name: feed_changes
-- A market's changes after a place.
SELECT (extract(epoch FROM exchange_ts) * 1000)::bigint AS exchange_ms, ordinal, side, price, delta FROM store.deltas
 WHERE market = $1 AND exchange_ts >= $2 AND (exchange_ts > $2 OR ordinal > $3)

-- name: feed_gaps
-- Stretches of a market's book that are listed, not healed, and end after its last book of the exchange.
SELECT (extract(epoch FROM started_at) * 1000)::bigint AS started_ms, (extract(epoch FROM ended_at) * 1000)::bigint AS ended_ms, reason
  FROM coverage_gaps
 WHERE ticker = $1 AND channel = 'orderbook_delta' AND healed_at IS NULL AND ended_at > $2

-- name: feed_trades
-- A market's last trades of a day, in the exchange's order.
SELECT * FROM (SELECT (extract(epoch FROM exchange_ts) * 1000)::bigint AS exchange_ms, ordinal, yes_price, count, taker_side
                 FROM store.trades
                WHERE market = $1 AND exchange_ts >= now() - interval '1 day'
                ORDER BY exchange_ts DESC, ordinal DESC, trade_id DESC LIMIT $2) t
 ORDER BY exchange_ms, ordinal NULLS LAST
