-- Open gaps that a finished claim covers, or that lie over each other: a stretch is covered or listed, never both.
-- A late copy on its way through a gap, whose horizon lies inside it, is let through.
SELECT m.ticker, g.channel, g.started_at, g.ended_at, 'a claim' AS other
  FROM store.gaps g JOIN store.markets m USING (market)
 WHERE g.healed_at IS NULL AND g.reason <> 'step_back' AND g.ended_at > $1
   AND EXISTS (SELECT FROM store.claims c WHERE c.market = g.market AND c.channel = g.channel
                  AND c.from_ts < g.ended_at AND c.to_ts > g.started_at)
   AND NOT EXISTS (SELECT FROM store.runs r JOIN store.slices s USING (gatherer, lane, slice)
                    WHERE r.market = g.market AND NOT r.ended AND s.horizon > g.started_at AND s.horizon < g.ended_at)
   AND NOT EXISTS (SELECT FROM store.gaps b WHERE b.market = g.market AND b.channel = g.channel AND b.reason = 'step_back')
UNION ALL
SELECT m.ticker, g.channel, g.started_at, g.ended_at, 'another gap'
  FROM store.gaps g JOIN store.gaps o USING (market, channel) JOIN store.markets m USING (market)
 WHERE g.healed_at IS NULL AND o.healed_at IS NULL AND g.gap < o.gap AND g.ended_at > $1
   AND g.started_at < o.ended_at AND o.started_at < g.ended_at
   AND g.reason <> 'step_back' AND o.reason <> 'step_back'
