-- The busiest markets
SELECT ticker, count(*) AS changes
  FROM orderbook_deltas
 WHERE exchange_ts >= :from AND exchange_ts < :to
 GROUP BY ticker ORDER BY changes DESC LIMIT 20
