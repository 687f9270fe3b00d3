-- The row of this transaction in the feed, under its step.
SELECT store.put_feed($1, $2, $3, $4, $5)
