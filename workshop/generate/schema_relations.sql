-- The tables and views of a database: what each is, its key, its columns, what it refers to and what it reads.
SELECT c.oid::regclass::text AS name, c.relkind::text AS kind, coalesce(obj_description(c.oid, 'pg_class'), '') AS meaning,
       ARRAY(SELECT a.attname::text
               FROM (SELECT indkey FROM pg_index WHERE indrelid = c.oid AND indisunique
                      ORDER BY indisprimary DESC, indexrelid LIMIT 1) i
              CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY k (attnum, n)
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
              ORDER BY k.n) AS key,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
              ORDER BY a.attnum) AS columns,
       ARRAY(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS types,
       ARRAY(SELECT coalesce(col_description(c.oid, a.attnum), '') FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS meanings,
       ARRAY(SELECT k.confrelid::regclass::text FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f'
              ORDER BY k.conname) AS refers_to,
       ARRAY(SELECT DISTINCT d.refobjid::regclass::text FROM pg_rewrite r
               JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                               AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> c.oid
              WHERE r.ev_class = c.oid ORDER BY 1) AS reads
  FROM pg_class c
 WHERE c.relnamespace::regnamespace::text IN ('public', 'store') AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
 ORDER BY 1;
