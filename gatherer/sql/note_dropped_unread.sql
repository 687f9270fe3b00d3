INSERT INTO dropped_unread (lane, from_batch, to_batch, from_us, to_us)
SELECT b.lane, min(b.batch), max(b.batch), min(b.received_us), max(b.received_us)
  FROM batches b JOIN acknowledged a ON a.lane = b.lane AND b.batch > a.batch
 WHERE b.loaded_at < $1 AND NOT EXISTS (SELECT FROM dropped_unread d WHERE d.lane = b.lane AND d.to_batch >= b.batch)
 GROUP BY b.lane
ON CONFLICT (lane, from_batch) DO UPDATE SET to_batch = excluded.to_batch, to_us = excluded.to_us
RETURNING lane, from_batch, to_batch
