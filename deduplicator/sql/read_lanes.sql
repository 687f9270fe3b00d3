-- All lanes, with their last batches.
SELECT l.lane, coalesce(b.batch, 0) AS batch, coalesce(b.digest, '') AS digest
  FROM lanes l
  LEFT JOIN LATERAL (SELECT batch, digest FROM batches WHERE batches.lane = l.lane ORDER BY batch DESC LIMIT 1) b ON true
 ORDER BY l.lane
