-- A lane is read again behind an earlier batch: one row if its cursor was where it was found to be no more.
WITH back AS (
    UPDATE store.cursors
       SET batch = $5, digest = $6, readings = readings + 1, again_until_us = greatest(again_until_us, received_us)
     WHERE gatherer = $1 AND lane = $2 AND batch = $3
    RETURNING again_until_us
), gone AS (
    DELETE FROM store.batch_digests WHERE gatherer = $1 AND lane = $2 AND batch > $5
), noted AS (
    INSERT INTO store.put_backs (gatherer, lane, read_to, last_batch, read_again, reason)
    SELECT $1, $2, $3, $4, $5, $7 FROM back
)
SELECT again_until_us FROM back
