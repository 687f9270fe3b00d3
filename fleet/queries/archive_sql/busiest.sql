-- The markets with the most changes of the book
SELECT ticker, count(*) AS changes, min(exchange_ts) AS first_change, max(exchange_ts) AS last_change
  FROM orderbook_deltas
 WHERE "date" BETWEEN CAST(CAST(:from AS date) AS varchar) AND CAST(CAST(:to AS date) AS varchar)
   AND exchange_ts >= :from AND exchange_ts < :to
 GROUP BY ticker ORDER BY changes DESC, ticker LIMIT 20
