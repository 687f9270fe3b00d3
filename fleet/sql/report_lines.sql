-- How long each market's time line is within a stretch of time, up to where it is sealed.
SELECT ticker, extract(epoch FROM least(sealed_until, ended_at, $2) - greatest(first_seen, $1))::float8 AS seconds,
       sealed_until < least(ended_at, $2) AS unsealed
  FROM coverage
 WHERE channel = 'orderbook_delta' AND first_seen < $2 AND least(sealed_until, ended_at) > greatest($1, first_seen)
 ORDER BY ticker
