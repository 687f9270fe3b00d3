-- A market's changes after a place.
SELECT exchange_ts, ordinal, side, price, delta FROM store.deltas
 WHERE market = $1 AND exchange_ts >= $2 AND (exchange_ts > $2 OR ordinal > $3)
