-- A market's trades
SELECT exchange_ts, yes_price, count, taker_side
  FROM trades
 WHERE ticker = :ticker AND exchange_ts >= :from AND exchange_ts < :to
 ORDER BY exchange_ts
