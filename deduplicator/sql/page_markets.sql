-- Markets whose ticker, event or title has the words ($1, in lower case), in a state ($2: active, closed, all): the
-- greatest volume first.
SELECT m.ticker, m.status, m.event_ticker, coalesce(e.title, '') AS title, m.yes_sub_title, m.volume_fp AS volume, m.close_time
  FROM markets m LEFT JOIN events e ON e.ticker = m.event_ticker
 WHERE ($1 = '' OR strpos(lower(concat_ws(' ', m.ticker, e.title, m.yes_sub_title)), $1) > 0)
   AND ($2 = 'all' OR (m.status = 'active') = ($2 = 'active'))
 ORDER BY m.volume_fp DESC NULLS LAST, m.ticker LIMIT $3
