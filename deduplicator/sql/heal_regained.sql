-- Runs of a market that lost their say and have it again: what they held, and from when on they count again.
SELECT p.gatherer, p.lane, p.run, p.from_ts, p.to_ts, r.cover_from
  FROM store.parts p JOIN store.runs r USING (gatherer, lane, run)
 WHERE p.market = $1 AND p.channel = 'orderbook_delta' AND r.cover_from IS NOT NULL
 ORDER BY p.gatherer, p.lane, p.run, p.from_ts
