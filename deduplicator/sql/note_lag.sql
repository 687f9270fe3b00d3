INSERT INTO store.lags AS l (hour, gatherer, from_ms, changes, least_ms, most_ms) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (hour, gatherer, from_ms) DO UPDATE
   SET changes = l.changes + excluded.changes, least_ms = least(l.least_ms, excluded.least_ms),
       most_ms = greatest(l.most_ms, excluded.most_ms)
