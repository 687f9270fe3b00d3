-- name: instance
-- The instance of this database, which a restored or new one changes.
SELECT instance FROM instance

-- name: name_instance
-- Name the gatherer that this database belongs to.
UPDATE instance SET gatherer_id = $1

-- name: open_lane
-- Open a lane, or let it drain.
INSERT INTO lanes (lane, state) VALUES ($1, $2) ON CONFLICT (lane) DO UPDATE SET state = excluded.state

-- name: close_lane
-- Close a lane: nothing more is loaded into it.
UPDATE lanes SET state = 'closed' WHERE lane = $1

-- name: next_lane
-- The next free number of a lane, from $1 on.
SELECT greatest($1::int, coalesce(max(lane), 0) + 1) FROM lanes

-- name: last_batch
-- The last batch of a lane: its place in the journal.
SELECT batch, journal, segment, end_offset, digest, received_us FROM batches WHERE lane = $1 ORDER BY batch DESC LIMIT 1

-- name: open_slices
-- Slices of a lane that never ended, with the last horizon that was reported for them.
SELECT s.slice, s.session, coalesce(max(h.horizon_ms), -1) AS horizon_ms
  FROM slices s LEFT JOIN horizons h ON h.slice = s.slice AND h.lane = s.lane
 WHERE s.lane = $1
 GROUP BY s.slice, s.session
HAVING NOT coalesce(bool_or(h.ended), false)

-- name: highest_number
-- The greatest number of a run or a slice of a lane.
SELECT greatest((SELECT coalesce(max(run), 0) FROM runs WHERE lane = $1),
                (SELECT coalesce(max(slice), 0) FROM slices WHERE lane = $1))

-- name: refused
-- Records of a journal that could not be stored, and why.
SELECT segment, end_offset, reason FROM refused_records WHERE lane = $1 AND journal = $2

-- name: allot_markets
-- The numbers of markets, new ones for tickers that have none. Their use is noted once an hour: a market whose number was
-- forgotten for being quiet is asked for with its next change, and that is no row written.
WITH noted AS (
    SELECT ticker, market FROM markets WHERE ticker = ANY ($1::text[]) AND used_at > now() - interval '1 hour'
), asked AS (
    INSERT INTO markets (ticker)
    SELECT t FROM unnest($1::text[]) t WHERE NOT EXISTS (SELECT FROM noted n WHERE n.ticker = t) ORDER BY t COLLATE "C"
        ON CONFLICT (ticker) DO UPDATE SET used_at = now()
    RETURNING ticker, market
)
SELECT ticker, market FROM noted
UNION ALL
SELECT ticker, market FROM asked

-- name: insert_batch
-- Store a batch.
INSERT INTO batches (lane, batch, journal, segment, end_offset, frames, delta_frames, delta_rows, delta_poisoned,
                     received_us, alarms, loaded_at, previous, digest, row_counts)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)

-- name: insert_refused
-- Store that a record of the journal was refused.
INSERT INTO refused_records (lane, journal, segment, end_offset, reason) VALUES ($1, $2, $3, $4, $5)

-- name: ensure_partition
-- Make the partition of an hour, unless it is there.
SELECT ensure_partition($1)

-- name: limit_lock_wait
-- Limit how long this session waits for a lock.
SELECT set_config('lock_timeout', $1, false)

-- name: limit_lock_wait_here
-- Limit how long this transaction waits for a lock.
SELECT set_config('lock_timeout', $1, true)

-- name: summarize_deltas
-- Bring the index of the newest hours up to date with their new pages: the loader does so every second.
SELECT summarize_deltas()
