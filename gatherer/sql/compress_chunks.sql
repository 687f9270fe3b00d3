SELECT compress_chunk(c, if_not_compressed => true)
  FROM partitioned_tables p CROSS JOIN LATERAL show_chunks(p.name::regclass, older_than => $1::timestamptz) c
