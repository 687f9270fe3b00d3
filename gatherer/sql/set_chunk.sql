-- How much time lies in one chunk of a large table; those that are there stay as they are.
SELECT set_chunk_time_interval(name::regclass, $1::interval) FROM partitioned_tables
