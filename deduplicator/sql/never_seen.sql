-- Markets that REST lists, that were open within the time, and whose book the fleet has no run of.
SELECT m.ticker FROM markets m
 WHERE m.open_time < $2 AND (m.close_time IS NULL OR m.close_time > $1)
   AND ($3::text IS NULL OR EXISTS (SELECT FROM events e WHERE e.ticker = m.event_ticker AND e.series_ticker = $3))
   AND NOT EXISTS (SELECT FROM store.markets n JOIN store.runs r USING (market) WHERE n.ticker = m.ticker)
   AND NOT EXISTS (SELECT FROM store.market_lines n WHERE n.ticker = m.ticker AND n.held)
 ORDER BY m.ticker
