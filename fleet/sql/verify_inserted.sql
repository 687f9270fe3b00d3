-- What the accounts say was inserted, and what is there, waits for an export, or has left for the archive.
SELECT coalesce((SELECT sum(inserted) FROM store.accounts), 0)::bigint + (SELECT healed_rows FROM store.lease) AS inserted,
       (SELECT count(*) FROM store.deltas) + (SELECT count(*) FROM store.late_deltas)
       + (SELECT coalesce(sum(rows + late_rows), 0) FROM store.detached)::bigint AS stored
