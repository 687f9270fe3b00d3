SELECT store.compact_slices($1)
