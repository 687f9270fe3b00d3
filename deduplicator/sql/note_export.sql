INSERT INTO store.exports (hour, exported_at, complete, unsealed, delta_rows, step) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (hour) DO UPDATE
   SET exported_at = excluded.exported_at, complete = excluded.complete, unsealed = excluded.unsealed,
       delta_rows = excluded.delta_rows, step = excluded.step
