-- From exactly where the batches were read; one row if it was there. With it their digests are kept, a batch in every level
-- whose stretches begin with it: it takes the place of one that is 64 stretches older.
WITH moved AS (
    INSERT INTO store.cursors (gatherer, lane, batch, digest, received_us) VALUES ($1, $2, $3, $5, $6)
    ON CONFLICT (gatherer, lane) DO UPDATE
       SET batch = excluded.batch, digest = excluded.digest,
           received_us = greatest(store.cursors.received_us, excluded.received_us)
     WHERE store.cursors.batch = $4
    RETURNING batch
), kept AS (
    INSERT INTO store.batch_digests (gatherer, lane, level, slot, batch, digest)
    SELECT $1, $2, level, (k.batch >> (2 * level)) & 63, k.batch, k.digest
      FROM moved, unnest($7::bigint[], $8::bytea[]) k (batch, digest), generate_series(0, 15) level
     WHERE k.batch & ((1::bigint << (2 * level)) - 1) = 0 AND k.batch > $3::bigint - (64::bigint << (2 * level))
    ON CONFLICT (gatherer, lane, level, slot) DO UPDATE SET batch = excluded.batch, digest = excluded.digest
)
SELECT batch FROM moved
