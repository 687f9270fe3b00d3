SELECT batch, journal, segment, end_offset, digest, received_us FROM batches WHERE lane = $1 ORDER BY batch DESC LIMIT 1
