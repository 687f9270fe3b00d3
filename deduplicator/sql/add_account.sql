INSERT INTO store.accounts (gatherer, lane, from_batch, to_batch, received, inserted, confirmed, disputed, unplaced, quarantined)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
