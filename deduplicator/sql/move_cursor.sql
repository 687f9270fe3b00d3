INSERT INTO store.cursors (gatherer, lane, batch) VALUES ($1, $2, $3)
ON CONFLICT (gatherer, lane) DO UPDATE SET batch = excluded.batch WHERE store.cursors.batch = $4
