-- name: know_gatherer
-- The number of a gatherer's instance, a new one if it was never seen.
INSERT INTO store.gatherers (gatherer_id, instance) VALUES ($1, $2)
ON CONFLICT (instance) DO UPDATE SET gatherer_id = excluded.gatherer_id, seen_at = now()
RETURNING gatherer

-- name: cursors
-- Where each lane of a gatherer is read from, and up to which receive time it is read again.
SELECT lane, batch, digest, again_until_us FROM store.cursors WHERE gatherer = $1

-- name: digests
-- The digests that are kept of a lane's batches.
SELECT DISTINCT batch, digest FROM store.batch_digests WHERE gatherer = $1 AND lane = $2

-- name: proven_until
-- By lane, up to where the slowest of a gatherer's open order-book slices is proven complete.
SELECT lane, (extract(epoch FROM min(coalesce(horizon, now()))) * 1000)::bigint AS proven_ms
  FROM store.slices WHERE gatherer = $1 AND NOT ended AND channel = 'orderbook_delta' GROUP BY lane

-- name: slices_left
-- Slices that are still open and belong to instances that no configured gatherer has: previous ones of this gatherer, and
-- those of gatherers that are no longer configured.
SELECT s.gatherer, s.lane, s.slice, g.gatherer_id = $1 AS replaced FROM store.slices s JOIN store.gatherers g USING (gatherer)
 WHERE g.gatherer <> $2 AND (g.gatherer_id = $1 OR g.gatherer_id <> ALL ($3::text[])) AND NOT s.ended

-- name: open_slices
-- Open slices, of lanes that were put back, and until when was received what was read of each lane before that.
SELECT s.lane, s.slice, c.again_until_us FROM store.slices s JOIN store.cursors c USING (gatherer, lane)
 WHERE s.gatherer = $1 AND c.readings > 0 AND NOT s.ended

-- name: other_slices
-- Slices whose number is known as that of another slice.
SELECT n.slice FROM store.slices s
  JOIN unnest($3::bigint[], $4::bigint[], $5::int[], $6::text[]) n (slice, session, sid, channel) USING (slice)
 WHERE s.gatherer = $1 AND s.lane = $2 AND (s.session, s.sid, s.channel) <> (n.session, n.sid, n.channel)

-- name: move_cursor
-- Move a lane's cursor from exactly where the batches were read; one row if it was there. With it their digests are kept,
-- a batch in every level whose stretches begin with it: it takes the place of one that is 64 stretches older.
WITH moved AS (
    INSERT INTO store.cursors (gatherer, lane, batch, digest, received_us) VALUES ($1, $2, $3, $5, $6)
    ON CONFLICT (gatherer, lane) DO UPDATE
       SET batch = excluded.batch, digest = excluded.digest,
           received_us = greatest(store.cursors.received_us, excluded.received_us)
     WHERE store.cursors.batch = $4
    RETURNING batch
), kept AS (
    INSERT INTO store.batch_digests (gatherer, lane, level, slot, batch, digest)
    SELECT $1, $2, level, (k.batch >> (2 * level)) & 63, k.batch, k.digest
      FROM moved, unnest($7::bigint[], $8::bytea[]) k (batch, digest), generate_series(0, 15) level
     WHERE k.batch & ((1::bigint << (2 * level)) - 1) = 0 AND k.batch > $3::bigint - (64::bigint << (2 * level))
    ON CONFLICT (gatherer, lane, level, slot) DO UPDATE SET batch = excluded.batch, digest = excluded.digest
)
SELECT batch FROM moved

-- name: put_back
-- Let a lane be read again after an earlier batch; no row if its cursor is no longer where it was found.
WITH back AS (
    UPDATE store.cursors
       SET batch = $5, digest = $6, readings = readings + 1, again_until_us = greatest(again_until_us, received_us)
     WHERE gatherer = $1 AND lane = $2 AND batch = $3
    RETURNING again_until_us
), gone AS (
    DELETE FROM store.batch_digests WHERE gatherer = $1 AND lane = $2 AND batch > $5
), noted AS (
    INSERT INTO store.put_backs (gatherer, lane, read_to, last_batch, read_again, reason)
    SELECT $1, $2, $3, $4, $5, $7 FROM back
)
SELECT again_until_us FROM back

-- name: add_account
-- Account for batches: how many changes were received, and what became of them.
INSERT INTO store.accounts (gatherer, lane, reading, from_batch, to_batch, received, inserted, confirmed, disputed, unplaced,
                            quarantined)
VALUES ($1, $2, coalesce((SELECT readings FROM store.cursors WHERE gatherer = $1 AND lane = $2), 0), $3, $4, $5, $6, $7, $8,
        $9, $10)

-- name: note_lag
-- Add to an hour's histogram of how long changes took.
INSERT INTO store.lags AS l (hour, gatherer, from_ms, changes, least_ms, most_ms) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (hour, gatherer, from_ms) DO UPDATE
   SET changes = l.changes + excluded.changes, least_ms = least(l.least_ms, excluded.least_ms),
       most_ms = greatest(l.most_ms, excluded.most_ms)

-- name: note_unknown_field
-- Note when a gatherer first and last saw a field that no row keeps.
INSERT INTO store.unknown_fields AS u (gatherer, field, first_seen, last_seen) VALUES ($1, $2, $3, $3)
ON CONFLICT (gatherer, field) DO UPDATE SET last_seen = greatest(u.last_seen, excluded.last_seen)

-- name: load_set_aside
-- What is set aside after failures, and when it is tried again.
SELECT kind, key, reason, extract(epoch FROM first_at)::float8 AS first_s, extract(epoch FROM last_at)::float8 AS last_s,
       tries, extract(epoch FROM retry_at)::float8 AS retry_s
  FROM store.set_aside

-- name: keep_set_aside
-- Store what is set aside after failures, or how it stands now.
INSERT INTO store.set_aside (kind, key, reason, first_at, last_at, tries, retry_at)
SELECT kind, key, reason, to_timestamp(first_s), to_timestamp(last_s), tries, to_timestamp(retry_s)
  FROM unnest($1::text[], $2::text[], $3::text[], $4::float8[], $5::float8[], $6::int[], $7::float8[])
       x (kind, key, reason, first_s, last_s, tries, retry_s)
ON CONFLICT (kind, key) DO UPDATE
   SET (reason, first_at, last_at, tries, retry_at)
     = (excluded.reason, excluded.first_at, excluded.last_at, excluded.tries, excluded.retry_at)

-- name: drop_set_aside
-- Forget what is no longer set aside.
DELETE FROM store.set_aside s USING unnest($1::text[], $2::text[]) x (kind, key) WHERE s.kind = x.kind AND s.key = x.key
