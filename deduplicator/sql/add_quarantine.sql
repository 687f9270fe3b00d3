INSERT INTO store.quarantine (gatherer, session, sid, seq, reason, received_at, frame) VALUES ($1, $2, $3, $4, $5, $6, $7)
