-- Chunks that every consumer has and that are old enough: one after the other, as a lock that is not had in time, or a
-- chunk that cannot be compressed, must not keep the others from it, nor hold them meanwhile.
SELECT format('%I.%I', c.chunk_schema, c.chunk_name) AS chunk
  FROM partitioned_tables p JOIN timescaledb_information.chunks c ON c.hypertable_name = p.name
 WHERE NOT c.is_compressed AND c.range_end <= $1
 ORDER BY c.range_end, 1
