-- The steps from a place on, the place itself without its block: so many, and only so many bytes of blocks, but one at least.
SELECT step, committed_at, kind, rows, from_ms, to_ms, CASE WHEN step > $1 THEN block END AS block
  FROM (SELECT f.*, sum(CASE WHEN step > $1 THEN coalesce(octet_length(block), 0) ELSE 0 END) OVER (ORDER BY step) AS size,
               coalesce(octet_length(block), 0) AS own
          FROM (SELECT * FROM store.feed WHERE step >= $1 ORDER BY step LIMIT $2) f) s
 WHERE size <= $3 OR size = own OR step <= $1 + 1
 ORDER BY step
