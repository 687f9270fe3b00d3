-- Checkpoints that were folded without what is now before them.
SELECT store.drop_checkpoints($1, $2, $3, $4, $5)
