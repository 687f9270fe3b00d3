SELECT e.lane, e.run, e.event, e.from_ms, e.to_ms, e.reason
  FROM run_events e JOIN runs r USING (lane, run) JOIN markets m USING (market)
 WHERE m.ticker = $1
 ORDER BY e.lane, e.batch, e.position
