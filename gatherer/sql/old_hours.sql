SELECT name, partition, high, detach, remove FROM hours WHERE high <= $1 ORDER BY high, name
