-- name: limit_lock_wait
-- Limit how long this session waits for a lock.
SELECT set_config('lock_timeout', $1, false)

-- name: days_past
-- Days of deltas that are older than retention, and their partitions.
SELECT p.day, p.part
  FROM (SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day, c.relname::text AS part
          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'store.deltas'::regclass) p
 WHERE (p.day + 1)::timestamp AT TIME ZONE 'UTC' < now() - $1::interval
 ORDER BY p.day

-- name: detached_days
-- Days whose changes have left production.
SELECT day FROM store.detached

-- name: hours_not_archived
-- Hours of a stretch that have changed since their export, or whose changes here are not as many as in the archive.
SELECT t.hour
  FROM store.hours_touched t LEFT JOIN store.exports e USING (hour)
 WHERE t.hour >= $1 AND t.hour < $2 AND (e.step IS NULL OR t.step > e.step)
UNION
SELECT h.hour
  FROM (SELECT date_trunc('hour', exchange_ts, 'UTC') AS hour, count(*) AS rows
          FROM store.deltas WHERE exchange_ts >= $1 AND exchange_ts < $2 GROUP BY 1) h
  LEFT JOIN store.exports e USING (hour)
 WHERE e.delta_rows IS DISTINCT FROM h.rows

-- name: export_again
-- Let hours be exported again.
UPDATE store.exports SET step = NULL WHERE hour = ANY ($1::timestamptz[])

-- name: markets_without_base
-- Last changes of a day at which no book stands: it will be the base of what comes after the day, and show that changes were
-- there. A book from the exchange does, unless a reset of the same place shows that it may have been taken later.
SELECT d.market, d.exchange_ts, d.ordinal
  FROM (SELECT DISTINCT ON (market) market, exchange_ts, ordinal FROM store.deltas
         WHERE exchange_ts >= $1 AND exchange_ts < $2
         ORDER BY market, exchange_ts DESC, ordinal DESC) d
 WHERE NOT EXISTS (SELECT FROM store.snapshots s
                    WHERE s.market = d.market AND s.exchange_ts = d.exchange_ts AND s.after_ordinal = d.ordinal AND NOT s.is_reset
                      AND (s.source = 'checkpoint'
                           OR (s.verified IS NOT FALSE
                               AND NOT EXISTS (SELECT FROM store.snapshots r
                                                WHERE r.market = d.market AND r.is_reset AND r.exchange_ts >= d.exchange_ts))))

-- name: leave_bases
-- Fold a checkpoint at each of these places.
SELECT store.checkpoint_at(p.market, p.exchange_ts, p.ordinal)
  FROM unnest($1::bigint[], $2::timestamptz[], $3::int[]) p (market, exchange_ts, ordinal)

-- name: note_detached
-- Note that a day's changes leave production, and how many they are.
INSERT INTO store.detached (day, rows)
SELECT $1::date, count(*) FROM store.deltas
 WHERE exchange_ts >= $1::timestamp AT TIME ZONE 'UTC' AND exchange_ts < ($1::date + 1)::timestamp AT TIME ZONE 'UTC'
ON CONFLICT DO NOTHING

-- name: drop_day
-- Drop a day of changes whose late rows already go elsewhere.
SELECT store.drop_day($1)

-- name: drop_feed
-- Drop partitions of the feed whose rows are all older than $1; $2: those alone that are in the archive.
SELECT store.drop_feed($1, $2)

-- name: compact_accounts
-- Store accounts older than a day, of batches that follow each other, as one account each.
WITH gone AS (
    DELETE FROM store.accounts WHERE stored_at < now() - $1::interval RETURNING *
), marked AS (
    SELECT *, (from_batch IS DISTINCT FROM 1 + lag(to_batch) OVER (PARTITION BY gatherer, lane, reading ORDER BY from_batch))::int AS begins
      FROM gone
), islands AS (
    SELECT *, sum(begins) OVER (PARTITION BY gatherer, lane, reading ORDER BY from_batch) AS island FROM marked
)
INSERT INTO store.accounts (gatherer, lane, reading, from_batch, to_batch, received, inserted, confirmed, disputed, unplaced,
                            quarantined, stored_at)
SELECT gatherer, lane, reading, min(from_batch), max(to_batch), sum(received), sum(inserted), sum(confirmed), sum(disputed),
       sum(unplaced), sum(quarantined), max(stored_at)
  FROM islands GROUP BY gatherer, lane, reading, island

-- name: compact_markets
-- Put one row in the place of the time line and the runs of each market that ended so long ago; so many at once.
SELECT store.compact_markets($1, $2)

-- name: compact_slices
-- Delete slices that ended so long ago and of which no run is left.
SELECT store.compact_slices($1)
