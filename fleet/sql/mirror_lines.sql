-- Time lines, as the feed's columns have them.
SELECT market, (extract(epoch FROM first_seen) * 1000)::bigint, (extract(epoch FROM ended_at) * 1000)::bigint
  FROM store.lines WHERE first_seen IS NOT NULL
