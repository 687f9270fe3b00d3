INSERT INTO store.retractions (market, channel, gatherer, lane, run, from_ts, to_ts, reason)
VALUES ($1, $2, nullif($3, 0), $4, $5, $6, $7, $8)
