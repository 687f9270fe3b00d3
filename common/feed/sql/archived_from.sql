-- The first object of the archive with this step or later ones.
SELECT object FROM store.feed_hours WHERE archived_at IS NOT NULL AND last_step >= $1 ORDER BY hour LIMIT 1
