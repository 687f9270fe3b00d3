-- Hours of a stretch whose changes here are not as many as in the archive's object.
SELECT h.hour
  FROM (SELECT date_trunc('hour', exchange_ts, 'UTC') AS hour, count(*) AS rows
          FROM store.deltas WHERE exchange_ts >= $1 AND exchange_ts < $2 GROUP BY 1) h
  LEFT JOIN store.exports e USING (hour)
 WHERE e.delta_rows IS DISTINCT FROM h.rows
