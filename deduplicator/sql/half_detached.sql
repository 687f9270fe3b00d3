-- Partitions of deltas that a crash left half or wholly detached: their day is noted, so that they only need to go.
SELECT c.relname::text AS part, coalesce(i.inhdetachpending, false) AS pending
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'store'
  LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
  JOIN store.detached d ON c.relname = 'deltas_p' || to_char(d.day, 'YYYYMMDD')
 WHERE c.relkind = 'r' AND (i.inhrelid IS NULL OR i.inhdetachpending)
