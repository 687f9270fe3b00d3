-- The place before the first step that was committed at a time or later, of those that are kept.
SELECT coalesce((SELECT min(step) - 1 FROM store.feed WHERE committed_at >= $1), (SELECT step FROM store.lease)) AS place
