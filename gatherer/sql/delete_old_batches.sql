-- The last batch stays: it is the lane's place in the journal.
DELETE FROM batches WHERE lane = $1 AND batch <= $2 AND batch < (SELECT max(batch) FROM batches WHERE lane = $1)
