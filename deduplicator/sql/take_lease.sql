-- The next epoch: beyond all that this database knows, and all that it knew before it was put back to an older state, as
-- gatherers remember those. So it is of the clock, in microseconds.
UPDATE store.lease
   SET epoch = greatest(epoch + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint), holder = $1
RETURNING *
