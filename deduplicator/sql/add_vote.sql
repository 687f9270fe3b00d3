INSERT INTO store.reset_votes (market, gatherer, exchange_ts, after_ordinal, taken_at, yes, no)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING
