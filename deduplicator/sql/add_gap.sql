INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, had) VALUES ($1, $2, $3, $4, $5, $6)
