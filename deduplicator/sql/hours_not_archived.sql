-- Hours of a stretch that have changed since their export, or whose changes here are not as many as in the archive.
SELECT t.hour
  FROM store.hours_touched t LEFT JOIN store.exports e USING (hour)
 WHERE t.hour >= $1 AND t.hour < $2 AND (e.step IS NULL OR t.step > e.step)
UNION
SELECT h.hour
  FROM (SELECT date_trunc('hour', exchange_ts, 'UTC') AS hour, count(*) AS rows
          FROM store.deltas WHERE exchange_ts >= $1 AND exchange_ts < $2 GROUP BY 1) h
  LEFT JOIN store.exports e USING (hour)
 WHERE e.delta_rows IS DISTINCT FROM h.rows
