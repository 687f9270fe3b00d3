-- name: other_instance
-- Make a copied database an instance of its own.
UPDATE instance SET instance = gen_random_uuid()

-- name: partition
-- Make the partition of this hour.
SELECT ensure_partition(now())

-- name: empty_deltas
-- Empty the changes.
TRUNCATE deltas

-- name: count_deltas
-- How many changes there are.
SELECT count(*) FROM deltas

-- name: loaded_rows
-- How many changes the batches have.
SELECT coalesce(sum(delta_rows), 0) FROM batches

-- name: last_batch
-- The last batch.
SELECT max(batch) FROM batches

-- name: batch_deltas
-- Changes of a batch that have a place, as production has them.
SELECT market, timestamptz 'epoch' + exchange_ms * interval '1 millisecond', ordinal, exchange_us, side, price, delta,
       timestamptz 'epoch' + received_us * interval '1 microsecond'
  FROM deltas WHERE batch = $1 AND ordinal >= 0

-- name: first_received
-- When the first change was received.
SELECT min(received_us) FROM deltas

-- name: first_received_since
-- When the first change since a moment was received.
SELECT min(received_us) FROM deltas WHERE received_us >= $1

-- name: last_loaded
-- When the last batch with changes was loaded.
SELECT max(extract(epoch FROM loaded_at)) FROM batches WHERE delta_rows > 0

-- name: count_breaks
-- How many breaks there are.
SELECT count(*) FROM breaks

-- name: held
-- How long the changes took to be sent (ms), how much later the last one was loaded (s), and how many breaks there are.
SELECT max(exchange_ms) - min(exchange_ms),
       (SELECT max(extract(epoch FROM loaded_at)) FROM batches WHERE delta_rows > 0) - max(exchange_ms) / 1000.0,
       (SELECT count(*) FROM breaks)
  FROM deltas
