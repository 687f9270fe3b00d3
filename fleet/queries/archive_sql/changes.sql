-- A market's changes, in the exchange's order
SELECT exchange_ts, ordinal, side, price, delta, exchange_us, received_at
  FROM orderbook_deltas
 WHERE ticker = :ticker AND "date" BETWEEN CAST(CAST(:from AS date) AS varchar) AND CAST(CAST(:to AS date) AS varchar)
   AND exchange_ts >= :from AND exchange_ts < :to
 ORDER BY exchange_ts, ordinal
