-- name: take_lease
-- Take the lease with the next epoch: beyond all that this database knows, and all that it knew before it was put back to
-- an older state, as gatherers remember those. So it is of the clock, in microseconds.
UPDATE store.lease
   SET epoch = greatest(epoch + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint), holder = $1
RETURNING *

-- name: lock_lease
-- Lock the lease, if it still has this epoch, until the transaction ends.
SELECT epoch FROM store.lease WHERE epoch = $1 FOR UPDATE

-- name: take_step
-- Take the next step. It is kept for the transaction, so that its triggers know that it has one (store.this_step).
UPDATE store.lease SET step = step + 1 WHERE epoch = $1
RETURNING step, heals, set_config('fleet.step', step::text, true) AS noted

-- name: open_history
-- Let the fleet's first day be that of its oldest record: what is rebuilt may be older than this database.
UPDATE store.lease SET fleet_started_at = least(fleet_started_at, $1) RETURNING fleet_started_at

-- name: note_newest
-- Note the greatest exchange time that is stored.
UPDATE store.lease SET newest_exchange_ts = greatest(newest_exchange_ts, $1)

-- name: clock
-- The time of the database.
SELECT now()
