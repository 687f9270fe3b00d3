-- What could not be used, and why
-- Single entries of what others wrote; everything else continues. Each is tried again from `retry_at` on.
SELECT kind, key, reason, first_at, last_at, tries, retry_at FROM set_aside ORDER BY first_at LIMIT 200
