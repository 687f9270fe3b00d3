SELECT ensure_partition($1)
