-- Hours that may go. One whose detaching was cut short (somebody read it) is finished first: until then no other hour of
-- its table can be detached. One that is detached and still there is only to be dropped: detach is null.
SELECT h.name, h.partition, h.high, h.remove,
       CASE WHEN h.detach IS NULL THEN NULL
            WHEN i.inhdetachpending THEN replace(h.detach, ' CONCURRENTLY', ' FINALIZE') ELSE h.detach END AS detach
  FROM hours h LEFT JOIN pg_inherits i ON i.inhrelid = to_regclass(quote_ident(h.partition))
 WHERE h.high <= $1
 ORDER BY i.inhdetachpending DESC NULLS LAST, h.high, h.name
