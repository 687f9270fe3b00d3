-- name: step
-- The last step.
SELECT step FROM store.lease

-- name: committed_at
-- When a step was committed; no row if it is not kept.
SELECT committed_at FROM store.feed WHERE step = $1

-- name: clock
-- The time of the database.
SELECT now()

-- name: numbers
-- Production's numbers of markets, by ticker.
SELECT market, ticker FROM store.markets WHERE ticker = ANY ($1::text[])

-- name: base_book
-- The book that a market's changes are folded onto, as store.fold chooses it for a moment after all of them.
SELECT exchange_ts, after_ordinal, is_reset, yes, no
  FROM store.snapshots s
 WHERE market = $1 AND verified IS NOT FALSE
 ORDER BY exchange_ts DESC, after_ordinal DESC, is_reset DESC, source = 'checkpoint'
 LIMIT 1

-- name: changes_after
-- A market's changes after a place.
SELECT exchange_ts, ordinal, side, price, delta FROM store.deltas
 WHERE market = $1 AND exchange_ts >= $2 AND (exchange_ts > $2 OR ordinal > $3)

-- name: recent_trades
-- A market's last trades, in the exchange's order.
SELECT * FROM (SELECT trade_id, exchange_ts, ordinal, yes_price, count, taker_side, is_block FROM store.trades
                WHERE market = $1 AND exchange_ts >= $2
                ORDER BY exchange_ts DESC, ordinal DESC, trade_id DESC LIMIT $3) t
 ORDER BY exchange_ts, ordinal NULLS LAST, trade_id
