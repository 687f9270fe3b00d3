SELECT batch, frames, delta_frames, delta_rows, delta_poisoned, received_us, loaded_at, previous, digest, row_counts, emptied,
       ARRAY(SELECT key FROM jsonb_object_keys(alarms) key WHERE key LIKE 'unknown_field:%') AS unknown_fields
  FROM batches WHERE lane = $1 AND batch > $2 ORDER BY batch LIMIT $3
