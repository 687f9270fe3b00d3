INSERT INTO store.accounts (gatherer, lane, reading, from_batch, to_batch, received, inserted, confirmed, disputed, unplaced,
                            quarantined)
VALUES ($1, $2, coalesce((SELECT readings FROM store.cursors WHERE gatherer = $1 AND lane = $2), 0), $3, $4, $5, $6, $7, $8,
        $9, $10)
