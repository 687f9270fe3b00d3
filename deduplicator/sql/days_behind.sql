-- Days of deltas that are older than retention, and their partitions.
SELECT p.day, p.part
  FROM (SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day, c.relname::text AS part
          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'store.deltas'::regclass) p
 WHERE (p.day + 1)::timestamp AT TIME ZONE 'UTC' < now() - $1::interval
 ORDER BY p.day
