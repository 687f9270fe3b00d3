SELECT c.consumer, c.lane, c.epoch, c.batch AS acknowledged_batch,
       (SELECT max(batch) FROM batches b WHERE b.lane = c.lane) - c.batch AS behind_batches,
       c.acknowledged_at
  FROM consumers c ORDER BY c.consumer, c.lane
