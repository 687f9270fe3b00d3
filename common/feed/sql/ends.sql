-- The oldest step that is kept, and the last one that there is.
SELECT (SELECT min(step) FROM store.feed) AS oldest, (SELECT step FROM store.lease) AS newest
