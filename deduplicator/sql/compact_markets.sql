SELECT store.compact_markets($1, $2)
