INSERT INTO store.gatherers (gatherer_id, instance) VALUES ($1, $2)
ON CONFLICT (instance) DO UPDATE SET gatherer_id = excluded.gatherer_id, seen_at = now()
RETURNING gatherer
