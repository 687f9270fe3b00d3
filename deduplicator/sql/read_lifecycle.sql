SELECT * FROM lifecycle WHERE lane = $1 AND batch BETWEEN $2 AND $3 AND stored_at BETWEEN $4 AND $5 ORDER BY batch
