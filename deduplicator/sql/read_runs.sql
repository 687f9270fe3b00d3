SELECT * FROM runs WHERE lane = $1 AND batch BETWEEN $2 AND $3 ORDER BY batch
