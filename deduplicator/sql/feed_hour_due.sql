-- The first hour of the feed whose object is not known to be in the archive.
SELECT hour, first_step, last_step FROM store.feed_hours WHERE archived_at IS NULL ORDER BY hour LIMIT 1
