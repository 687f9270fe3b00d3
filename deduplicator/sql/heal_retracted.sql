-- What was retracted of single gatherers within a stretch, as copies contradicted each other.
SELECT DISTINCT gatherer, from_ts, to_ts FROM store.retractions
 WHERE market = $1 AND channel = 'orderbook_delta' AND gatherer IS NOT NULL AND reason = 'conflict'
   AND from_ts >= $2 AND to_ts <= $3
