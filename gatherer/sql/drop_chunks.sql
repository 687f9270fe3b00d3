SELECT drop_chunks(name::regclass, older_than => $1::timestamptz) FROM partitioned_tables
