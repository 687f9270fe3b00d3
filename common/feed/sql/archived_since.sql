-- The object of the archive with what was committed at a time, or first after it.
SELECT object FROM store.feed_hours WHERE archived_at IS NOT NULL AND hour + interval '1 hour' > $1 ORDER BY hour LIMIT 1
