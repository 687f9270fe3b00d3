-- Books that agreed are only counted: their levels stay where they are.
SELECT market, requested_us, answered_us, agrees,
       CASE WHEN agrees = 1 THEN '{}' ELSE yes END AS yes, CASE WHEN agrees = 1 THEN '{}' ELSE no END AS no
  FROM rest_books WHERE lane = $1 AND batch BETWEEN $2 AND $3 AND stored_at BETWEEN $4 AND $5 ORDER BY batch
