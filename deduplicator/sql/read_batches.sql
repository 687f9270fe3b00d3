SELECT batch, frames, delta_frames, delta_rows, delta_poisoned, received_us, loaded_at
  FROM batches WHERE lane = $1 AND batch > $2 ORDER BY batch LIMIT $3
