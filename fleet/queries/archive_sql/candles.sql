-- Candlesticks of a minute, from trades
-- In the exchange's order: a trade without an ordinal comes after those of its millisecond.
SELECT date_trunc('minute', exchange_ts) AS minute,
       min_by(yes_price, (exchange_ts, coalesce(ordinal, 2147483647), trade_id)) AS open,
       max(yes_price) AS high, min(yes_price) AS low,
       max_by(yes_price, (exchange_ts, coalesce(ordinal, 2147483647), trade_id)) AS close, sum("count") AS volume
  FROM trades
 WHERE ticker = :ticker AND "date" BETWEEN CAST(CAST(:from AS date) AS varchar) AND CAST(CAST(:to AS date) AS varchar)
   AND exchange_ts >= :from AND exchange_ts < :to
 GROUP BY date_trunc('minute', exchange_ts) ORDER BY 1
