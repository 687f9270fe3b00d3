INSERT INTO store.exports (hour, exported_at, complete, unsealed) VALUES ($1, $2, $3, $4)
ON CONFLICT (hour) DO UPDATE SET exported_at = excluded.exported_at, complete = excluded.complete, unsealed = excluded.unsealed
