INSERT INTO batches (lane, batch, journal, segment, end_offset, frames, delta_frames, delta_rows, delta_poisoned,
                     received_us, alarms, loaded_at, previous, digest, row_counts)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
