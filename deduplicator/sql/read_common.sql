-- The batch behind which a lane that was put back is read again, with its digest: the last that is there as it is
-- remembered; if none is, the lane is read from its beginning, and what of that is gone is read as dropped.
WITH common AS (
    SELECT coalesce(
               (SELECT max(k.batch) FROM unnest($2::bigint[], $3::bytea[]) k (batch, digest)
                 WHERE EXISTS (SELECT FROM batches b WHERE (b.lane, b.batch, b.digest) = ($1, k.batch, k.digest))
                    OR EXISTS (SELECT FROM batches b WHERE (b.lane, b.batch, b.previous) = ($1, k.batch + 1, k.digest))),
               0) AS batch
)
SELECT c.batch, coalesce((SELECT b.previous FROM batches b WHERE b.lane = $1 AND b.batch = c.batch + 1),
                         (SELECT b.digest FROM batches b WHERE b.lane = $1 AND b.batch = c.batch), '') AS digest
  FROM common c
