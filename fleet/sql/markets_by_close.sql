-- Markets, by when they close, the next first.
SELECT m.ticker, m.status, m.event_ticker, m.yes_sub_title, m.volume_fp AS volume, m.close_time
  FROM markets m
 WHERE ($1::text IS NULL OR m.status = $1)
   AND ($2::text IS NULL OR EXISTS (SELECT FROM events e WHERE e.ticker = m.event_ticker AND e.series_ticker = $2))
 ORDER BY m.close_time NULLS LAST, m.ticker LIMIT $3
