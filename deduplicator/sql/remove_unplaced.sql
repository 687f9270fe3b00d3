DELETE FROM store.unplaced WHERE gatherer = $1 AND session = $2 AND sid = $3 AND seq = $4 AND run = $5
