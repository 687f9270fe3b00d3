-- Accounts of a lane follow each other without holes; those of a lane that was put back begin again where it is read again.
SELECT gatherer, from_batch
  FROM (SELECT a.gatherer, a.from_batch,
               lag(a.to_batch, 1, coalesce(p.read_again, 0))
                   OVER (PARTITION BY a.gatherer, a.lane, a.reading ORDER BY a.from_batch) AS before
          FROM store.accounts a
          LEFT JOIN (SELECT gatherer, lane, read_again,
                            row_number() OVER (PARTITION BY gatherer, lane ORDER BY put_back) AS reading
                       FROM store.put_backs) p USING (gatherer, lane, reading)) a
 WHERE from_batch <> before + 1
