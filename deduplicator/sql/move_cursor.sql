-- From exactly where the batches were read; one row if it was there. With it the digest is kept, in every level in which
-- the batch is the first of its stretch: it takes the place of one that is 64 stretches older.
WITH moved AS (
    INSERT INTO store.cursors (gatherer, lane, batch, digest, received_us) VALUES ($1, $2, $3, $5, $6)
    ON CONFLICT (gatherer, lane) DO UPDATE
       SET batch = excluded.batch, digest = excluded.digest,
           received_us = greatest(store.cursors.received_us, excluded.received_us)
     WHERE store.cursors.batch = $4
    RETURNING batch
), kept AS (
    INSERT INTO store.batch_digests (gatherer, lane, level, slot, batch, digest)
    SELECT $1, $2, level, ($3::bigint >> (2 * level)) & 63, $3, $5
      FROM moved CROSS JOIN generate_series(0, 15) level
     WHERE $5::bytea <> '' AND $3::bigint >> (2 * level) <> $4::bigint >> (2 * level)
    ON CONFLICT (gatherer, lane, level, slot) DO UPDATE SET batch = excluded.batch, digest = excluded.digest
)
SELECT batch FROM moved
