INSERT INTO refused_records (lane, journal, segment, end_offset, reason) VALUES ($1, $2, $3, $4, $5)
