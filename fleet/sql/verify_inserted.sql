-- What the accounts say was inserted and confirmed, and what is there.
SELECT coalesce((SELECT sum(inserted) FROM store.accounts), 0)::bigint AS inserted,
       (SELECT count(*) FROM store.deltas) AS stored
