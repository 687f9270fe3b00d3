-- Accounts older than a day, of batches that follow each other, as one account each.
WITH gone AS (
    DELETE FROM store.accounts WHERE stored_at < now() - $1::interval RETURNING *
), marked AS (
    SELECT *, (from_batch IS DISTINCT FROM 1 + lag(to_batch) OVER (PARTITION BY gatherer, lane, reading ORDER BY from_batch))::int AS begins
      FROM gone
), islands AS (
    SELECT *, sum(begins) OVER (PARTITION BY gatherer, lane, reading ORDER BY from_batch) AS island FROM marked
)
INSERT INTO store.accounts (gatherer, lane, reading, from_batch, to_batch, received, inserted, confirmed, disputed, unplaced,
                            quarantined, stored_at)
SELECT gatherer, lane, reading, min(from_batch), max(to_batch), sum(received), sum(inserted), sum(confirmed), sum(disputed),
       sum(unplaced), sum(quarantined), max(stored_at)
  FROM islands GROUP BY gatherer, lane, reading, island
