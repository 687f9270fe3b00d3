-- Accounts of a lane follow each other without holes.
SELECT gatherer, from_batch
  FROM (SELECT gatherer, from_batch, lag(to_batch, 1, 0::bigint) OVER (PARTITION BY gatherer, lane ORDER BY from_batch) AS before
          FROM store.accounts) a
 WHERE from_batch <> before + 1
