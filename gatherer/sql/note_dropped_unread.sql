-- Unread batches of which rows are dropped before this moment, each stretch without holes apart: others between them, of
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
