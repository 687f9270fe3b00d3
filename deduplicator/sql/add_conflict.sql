INSERT INTO store.conflicts (kind, market, exchange_ts, versions) VALUES ($1, $2, $3, $4)
