-- What is known of a lane's batches.
SELECT DISTINCT batch, digest FROM store.batch_digests WHERE gatherer = $1 AND lane = $2
