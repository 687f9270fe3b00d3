-- name: storage_engine
-- What keeps the hours: TimescaleDB or plain partitions.
SELECT storage_engine()

-- name: set_chunk
-- Set how much time lies in one chunk of a large table; those that are there stay as they are.
SELECT set_chunk_time_interval(name::regclass, $1::interval) FROM partitioned_tables

-- name: retention_limit
-- The moment before which everything was acknowledged by every consumer of every lane, and is older than it must be kept.
-- Whole chunks ($2; hours), as the large tables are dropped by them. Of the unread batches it is the earliest moment that
-- counts, not that of the first one: a clock may have been back when a later one was stored.
SELECT date_bin($2::interval, least(now() - $1::interval,
                                min((SELECT min(b.loaded_at) FROM batches b
                                      WHERE b.lane = a.lane AND b.batch > a.batch AND b.loaded_at < now() - $1::interval))),
                'epoch'::timestamptz)
  FROM acknowledged a

-- name: old_batches
-- Of each lane the last batch that every consumer has and that is older than a moment.
SELECT b.lane, max(b.batch) AS batch
  FROM batches b JOIN acknowledged a ON a.lane = b.lane AND b.batch <= a.batch
 WHERE b.loaded_at < $1
 GROUP BY b.lane

-- name: empty_old_batches
-- Mark batches whose rows are about to go, before anything of them goes: the last batch of a lane stays, and has no rows
-- then.
UPDATE batches SET emptied = true WHERE lane = $1 AND batch <= $2 AND NOT emptied

-- name: delete_old_slices
-- Delete slices that ended before a moment, before the hour that has their end is dropped.
DELETE FROM slices s USING horizons h
 WHERE (h.lane, h.slice) = (s.lane, s.slice) AND h.ended AND h.stored_at < $3 AND s.lane = $1 AND s.batch <= $2

-- name: delete_old_runs
-- Delete runs of batches that may go, unless their slices stay.
DELETE FROM runs r
 WHERE r.lane = $1 AND r.batch <= $2
   AND NOT EXISTS (SELECT FROM slices s WHERE (s.lane, s.slice) = (r.lane, r.slice))

-- name: delete_old_sessions
-- Delete sessions of batches that may go, unless slices of them stay.
DELETE FROM sessions o
 WHERE o.lane = $1 AND o.batch <= $2
   AND NOT EXISTS (SELECT FROM slices s WHERE s.lane = o.lane AND s.session = o.session)

-- name: delete_old_breaks
-- Delete breaks of batches that may go.
DELETE FROM breaks WHERE lane = $1 AND batch <= $2

-- name: delete_old_quarantine
-- Delete quarantined frames of batches that may go.
DELETE FROM quarantine WHERE lane = $1 AND batch <= $2

-- name: delete_old_batches
-- Delete batches. The last batch stays: it is the lane's place in the journal.
DELETE FROM batches WHERE lane = $1 AND batch <= $2 AND batch < (SELECT max(batch) FROM batches WHERE lane = $1)

-- name: note_dropped_unread
-- List unread batches of which rows are dropped before this moment, each stretch without holes apart: others between them, of
-- other moments, are read.
INSERT INTO dropped_unread (lane, from_batch, to_batch, from_us, to_us)
SELECT lane, min(batch), max(batch), min(received_us), max(received_us)
  FROM (SELECT b.lane, b.batch, b.received_us, b.batch - row_number() OVER (PARTITION BY b.lane ORDER BY b.batch) AS stretch
          FROM batches b JOIN acknowledged a ON a.lane = b.lane AND b.batch > a.batch
         WHERE b.loaded_at < $1
           AND NOT EXISTS (SELECT FROM dropped_unread d WHERE d.lane = b.lane AND b.batch BETWEEN d.from_batch AND d.to_batch)
       ) unlisted
 GROUP BY lane, stretch
ON CONFLICT (lane, from_batch) DO UPDATE
   SET to_batch = greatest(dropped_unread.to_batch, excluded.to_batch), to_us = greatest(dropped_unread.to_us, excluded.to_us)
RETURNING lane, from_batch, to_batch

-- name: count_dropped_unread
-- How many batches were dropped unread.
SELECT coalesce(sum(to_batch - from_batch + 1), 0) FROM dropped_unread

-- name: forget_markets
-- Forget numbers that no loader has used since, and that no run names: the rows that had them are dropped.
DELETE FROM markets m
 WHERE m.used_at < $1 AND m.ticker <> ''
   AND NOT EXISTS (SELECT FROM runs r WHERE r.market = m.market)

-- name: old_hours
-- Hours that may go. One whose detaching was cut short (it was being read) is finished first: until then no other hour of
-- its table can be detached. One that is detached and still there is only to be dropped: detach is null.
SELECT h.name, h.partition, h.high, h.remove,
       CASE WHEN h.detach IS NULL THEN NULL
            WHEN i.inhdetachpending THEN replace(h.detach, ' CONCURRENTLY', ' FINALIZE') ELSE h.detach END AS detach
  FROM hours h LEFT JOIN pg_inherits i ON i.inhrelid = to_regclass(quote_ident(h.partition))
 WHERE h.high <= $1
 ORDER BY i.inhdetachpending DESC NULLS LAST, h.high, h.name

-- name: oldest_hour
-- The end of the oldest hour.
SELECT min(high) FROM hours WHERE high <= now()

-- name: oldest_chunk
-- The end of the oldest chunk.
SELECT min(range_end) FROM timescaledb_information.chunks WHERE range_end <= now()

-- name: drop_chunks
-- Drop chunks that are older than a moment.
SELECT drop_chunks(name::regclass, older_than => $1::timestamptz) FROM partitioned_tables

-- name: compressible_chunks
-- Chunks that every consumer has and that are old enough: one after the other, as a lock that is not had in time, or a
-- chunk that cannot be compressed, must not keep the others from it, nor hold them meanwhile.
SELECT format('%I.%I', c.chunk_schema, c.chunk_name) AS chunk
  FROM partitioned_tables p JOIN timescaledb_information.chunks c ON c.hypertable_name = p.name
 WHERE NOT c.is_compressed AND c.range_end <= $1
 ORDER BY c.range_end, 1

-- name: compress_chunk
-- Compress a chunk.
SELECT compress_chunk($1::text::regclass, if_not_compressed => true)
