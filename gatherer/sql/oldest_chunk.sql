SELECT min(range_end) FROM timescaledb_information.chunks WHERE range_end <= now()
