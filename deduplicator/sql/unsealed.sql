SELECT ticker FROM coverage
 WHERE channel = 'orderbook_delta' AND first_seen < $1 AND sealed_until < $1
   AND (ended_at IS NULL OR sealed_until < ended_at)
 ORDER BY ticker
