-- What was not recorded of the order books in a stretch of time, by market and reason.
SELECT ticker, reason, count(*) AS gaps,
       sum(extract(epoch FROM least(ended_at, $2) - greatest(started_at, $1)))::float8 AS seconds
  FROM coverage_gaps
 WHERE channel = 'orderbook_delta' AND healed_at IS NULL AND started_at < $2 AND ended_at > $1
 GROUP BY ticker, reason ORDER BY ticker, reason
