-- A market's trades
SELECT trade_id, exchange_ts, yes_price, "count", taker_side, is_block, source
  FROM trades
 WHERE ticker = :ticker AND "date" BETWEEN CAST(CAST(:from AS date) AS varchar) AND CAST(CAST(:to AS date) AS varchar)
   AND exchange_ts >= :from AND exchange_ts < :to
 ORDER BY exchange_ts, trade_id
