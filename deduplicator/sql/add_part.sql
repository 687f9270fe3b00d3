INSERT INTO store.run_parts (gatherer, lane, run, market, channel, from_ts, to_ts) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING
