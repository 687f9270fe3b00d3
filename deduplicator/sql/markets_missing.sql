-- Markets that the stream has shown within the last hour and that no list has.
SELECT n.ticker FROM store.lines l JOIN store.markets n USING (market)
 WHERE l.seen_at > now() - interval '1 hour' AND n.ticker <> ''
   AND NOT EXISTS (SELECT FROM markets m WHERE m.ticker = n.ticker)
 ORDER BY l.seen_at DESC LIMIT $1
