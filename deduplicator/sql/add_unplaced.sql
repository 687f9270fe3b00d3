-- A part of a journal that was loaded again brings the same rows: they are kept once.
INSERT INTO store.unplaced (gatherer, session, sid, seq, lane, run, market, exchange_ts, exchange_us, side, price, delta, received_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (gatherer, session, sid, seq, run) DO NOTHING
