-- The stretch of a lane's batches up to a place that received anything since: what a merge that is made again remembers.
SELECT min(batch) AS first, max(batch) AS last, min(loaded_at) AS loaded_from, max(loaded_at) AS loaded_to
  FROM (SELECT batch, loaded_at, received_us, sum(delta_rows) OVER (ORDER BY batch DESC) AS rows
          FROM (SELECT batch, loaded_at, received_us, delta_rows FROM batches
                 WHERE lane = $1 AND batch <= $2 ORDER BY batch DESC LIMIT 20000) latest) b
 WHERE received_us >= $3 AND rows <= $4
