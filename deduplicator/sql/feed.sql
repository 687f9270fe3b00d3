-- name: put_feed
-- Write the row of this transaction in the feed, under its step.
SELECT store.put_feed($1, $2, $3, $4, $5)

-- name: feed_hour_due
-- The first hour of the feed whose object is not known to be in the archive.
SELECT hour, first_step, last_step FROM store.feed_hours WHERE archived_at IS NULL ORDER BY hour LIMIT 1

-- name: plan_feed_hour
-- Settle which steps the next hour of the feed has that is over: those after the hour before, up to the first one that was
-- committed after its end. With the lease's row locked none is being written. Steps that left before they were archived
-- (there was no archive) are missing.
WITH oldest AS (
    SELECT step, date_trunc('hour', committed_at, 'UTC') AS hour FROM store.feed ORDER BY step LIMIT 1
), before AS (
    SELECT hour + interval '1 hour' AS hour, last_step + 1 AS step FROM store.feed_hours ORDER BY hour DESC LIMIT 1
), following AS (
    SELECT CASE WHEN o.step > b.step THEN greatest(o.hour, b.hour) ELSE coalesce(b.hour, o.hour) END AS hour,
           greatest(o.step, b.step) AS step
      FROM oldest o LEFT JOIN before b ON true
)
INSERT INTO store.feed_hours (hour, first_step, last_step)
SELECT hour, step, coalesce((SELECT min(f.step) - 1 FROM store.feed f
                              WHERE f.step >= n.step AND f.committed_at >= n.hour + interval '1 hour'),
                            (SELECT l.step FROM store.lease l))
  FROM following n WHERE hour + interval '1 hour' <= now()
RETURNING hour, first_step, last_step, first_step - coalesce((SELECT step FROM before), first_step) AS missing

-- name: export_feed
-- Steps of the feed from one to another.
SELECT step, committed_at, kind, rows, from_ms, to_ms, block FROM store.feed WHERE step BETWEEN $1 AND $2 ORDER BY step

-- name: note_feed_hour
-- Note that an hour of the feed is in the archive, and in which object.
UPDATE store.feed_hours SET archived_at = now(), object = $2 WHERE hour = $1
