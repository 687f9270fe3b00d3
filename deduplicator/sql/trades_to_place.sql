-- Of an hour whose changes are in the archive: the trades of the milliseconds in which one has no ordinal, or a change came late.
WITH place AS (
    SELECT market, exchange_ts FROM store.trades
     WHERE exchange_ts >= $1 AND exchange_ts < $2 AND ordinal IS NULL AND NOT is_block
    UNION
    SELECT market, exchange_ts FROM store.late_deltas WHERE exchange_ts >= $1 AND exchange_ts < $2
)
SELECT t.trade_id::text, m.ticker, t.exchange_ts, t.ordinal, (1 - t.taker_side)::smallint AS side,
       CASE t.taker_side WHEN 1 THEN t.yes_price ELSE 10000 - t.yes_price END AS price, t.count
  FROM place JOIN store.trades t USING (market, exchange_ts) JOIN store.markets m USING (market)
 WHERE NOT t.is_block
