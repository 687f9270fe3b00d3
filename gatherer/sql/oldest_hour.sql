SELECT min(high) FROM hours WHERE high <= now()
