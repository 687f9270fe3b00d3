INSERT INTO store.unknown_fields AS u (gatherer, field, first_seen, last_seen) VALUES ($1, $2, $3, $3)
ON CONFLICT (gatherer, field) DO UPDATE SET last_seen = greatest(u.last_seen, excluded.last_seen)
