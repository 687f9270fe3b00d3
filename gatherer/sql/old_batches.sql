SELECT b.lane, max(b.batch) AS batch
  FROM batches b JOIN acknowledged a ON a.lane = b.lane AND b.batch <= a.batch
 WHERE b.loaded_at < $1
 GROUP BY b.lane
