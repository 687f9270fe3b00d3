-- name: read_instance
-- The instance of a gatherer's database, which a restored or new one changes.
SELECT instance FROM instance

-- name: read_by_index
-- Keep the planner of this session from reading whole tables, and from parallel workers.
SET enable_seqscan = off;
SET max_parallel_workers_per_gather = 0

-- name: read_lanes
-- All lanes, with their last batches.
SELECT l.lane, coalesce(b.batch, 0) AS batch, coalesce(b.digest, '') AS digest
  FROM lanes l
  LEFT JOIN LATERAL (SELECT batch, digest FROM batches WHERE batches.lane = l.lane ORDER BY batch DESC LIMIT 1) b ON true
 ORDER BY l.lane

-- name: read_batches
-- The next batches of a lane after one of them, and the names of the unknown fields that each reports.
SELECT batch, frames, delta_frames, delta_rows, delta_poisoned, received_us, loaded_at, previous, digest, row_counts, emptied,
       ARRAY(SELECT key FROM jsonb_object_keys(alarms) key WHERE key LIKE 'unknown_field:%') AS unknown_fields
  FROM batches WHERE lane = $1 AND batch > $2 ORDER BY batch LIMIT $3

-- name: any_batch_before
-- Whether a lane has a batch before this one: if not, the lane begins here, and retention dropped what was before.
SELECT EXISTS (SELECT FROM batches WHERE lane = $1 AND batch < $2)

-- name: read_dropped
-- The few stretches of a lane whose rows had to go before they were read.
SELECT from_batch, to_batch FROM dropped_unread WHERE lane = $1 AND to_batch > $2

-- name: read_recent
-- The stretch of a lane's batches up to a place that received anything since: what a merge that is made again remembers.
SELECT min(batch) AS first, max(batch) AS last, min(loaded_at) AS loaded_from, max(loaded_at) AS loaded_to
  FROM (SELECT batch, loaded_at, received_us, sum(delta_rows) OVER (ORDER BY batch DESC) AS rows
          FROM (SELECT batch, loaded_at, received_us, delta_rows FROM batches
                 WHERE lane = $1 AND batch <= $2 ORDER BY batch DESC LIMIT 20000) latest) b
 WHERE received_us >= $3 AND rows <= $4

-- name: read_common
-- The batch after which a lane that was put back is read again, with its digest: the last that is there as it is
-- remembered; if none is, the lane is read from its beginning, and what of that is gone is read as dropped.
WITH common AS (
    SELECT coalesce(
               (SELECT max(k.batch) FROM unnest($2::bigint[], $3::bytea[]) k (batch, digest)
                 WHERE EXISTS (SELECT FROM batches b WHERE (b.lane, b.batch, b.digest) = ($1, k.batch, k.digest))
                    OR EXISTS (SELECT FROM batches b WHERE (b.lane, b.batch, b.previous) = ($1, k.batch + 1, k.digest))),
               0) AS batch
)
SELECT c.batch, coalesce((SELECT b.previous FROM batches b WHERE b.lane = $1 AND b.batch = c.batch + 1),
                         (SELECT b.digest FROM batches b WHERE b.lane = $1 AND b.batch = c.batch), '') AS digest
  FROM common c

-- name: read_missing_slices
-- Which of these slices are not here; lost: and the lane has loaded what was received later than all that was read of it,
-- or is closed, or is not here at all while others have loaded such, so that they do not come again.
SELECT x.lane, x.slice,
       coalesce((SELECT b.received_us FROM batches b WHERE b.lane = x.lane ORDER BY b.batch DESC LIMIT 1), 0) > x.until_us
       OR EXISTS (SELECT FROM lanes l WHERE l.lane = x.lane AND l.state = 'closed')
       OR NOT EXISTS (SELECT FROM lanes l WHERE l.lane = x.lane)
          AND EXISTS (SELECT FROM lanes l CROSS JOIN LATERAL
                        (SELECT b.received_us FROM batches b WHERE b.lane = l.lane ORDER BY b.batch DESC LIMIT 1) last
                       WHERE last.received_us > x.until_us) AS lost
  FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) x (lane, slice, until_us)
 WHERE NOT EXISTS (SELECT FROM slices s WHERE s.lane = x.lane AND s.slice = x.slice)

-- name: read_deltas
-- Order-book changes of some batches of a lane.
SELECT run, market, seq, exchange_ms, ordinal, exchange_us, side, price, delta, received_us
  FROM deltas WHERE lane = $1 AND batch BETWEEN $2 AND $3 AND stored_at BETWEEN $4 AND $5

-- name: read_slices
-- Slices that began in some batches of a lane.
SELECT * FROM slices WHERE lane = $1 AND batch BETWEEN $2 AND $3 ORDER BY batch

-- name: read_runs
-- Runs that began in some batches of a lane.
SELECT * FROM runs WHERE lane = $1 AND batch BETWEEN $2 AND $3 ORDER BY batch

-- name: read_run_events
-- What became of runs in some batches of a lane, in the order in which it happened.
SELECT * FROM run_events WHERE lane = $1 AND batch BETWEEN $2 AND $3 AND stored_at BETWEEN $4 AND $5 ORDER BY batch, position

-- name: read_horizons
-- How far slices were proven complete in some batches of a lane, and which of them ended.
SELECT * FROM horizons WHERE lane = $1 AND batch BETWEEN $2 AND $3 AND stored_at BETWEEN $4 AND $5 ORDER BY batch

-- name: read_snapshots
-- Books that the stream gave in some batches of a lane.
SELECT * FROM snapshots WHERE lane = $1 AND batch BETWEEN $2 AND $3 AND stored_at BETWEEN $4 AND $5 ORDER BY batch

-- name: read_trades
-- Trades of some batches of a lane.
SELECT * FROM trades WHERE lane = $1 AND batch BETWEEN $2 AND $3 AND stored_at BETWEEN $4 AND $5 ORDER BY batch

-- name: read_tickers
-- Ticks of some batches of a lane.
SELECT * FROM tickers WHERE lane = $1 AND batch BETWEEN $2 AND $3 AND stored_at BETWEEN $4 AND $5 ORDER BY batch

-- name: read_lifecycle
-- Lifecycle messages of some batches of a lane.
SELECT * FROM lifecycle WHERE lane = $1 AND batch BETWEEN $2 AND $3 AND stored_at BETWEEN $4 AND $5 ORDER BY batch

-- name: read_rest_books
-- Books that REST gave in some batches of a lane. Those that agreed are only counted: their levels stay where they are.
SELECT market, requested_us, answered_us, agrees,
       CASE WHEN agrees = 1 THEN '{}' ELSE yes END AS yes, CASE WHEN agrees = 1 THEN '{}' ELSE no END AS no
  FROM rest_books WHERE lane = $1 AND batch BETWEEN $2 AND $3 AND stored_at BETWEEN $4 AND $5 ORDER BY batch

-- name: read_quarantine
-- Frames of some batches of a lane that became no row.
SELECT * FROM quarantine WHERE lane = $1 AND batch BETWEEN $2 AND $3 ORDER BY batch

-- name: read_tickers_of
-- The tickers of markets, by the gatherer's numbers.
SELECT market, ticker FROM markets WHERE market = ANY ($1::bigint[])

-- name: acknowledge
-- Acknowledge a lane's batches up to one, in the name of a consumer and its epoch; false: a newer epoch of the
-- consumer is known, and nothing was changed.
SELECT acknowledge($1, $2, $3, $4)
