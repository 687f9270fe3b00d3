-- Why the last run of a gatherer ended that has none open.
SELECT DISTINCT ON (r.market, s.channel, r.gatherer) r.market, s.channel, r.gatherer, r.reason
  FROM store.runs r JOIN store.slices s USING (gatherer, lane, slice) JOIN store.markets n ON n.market = r.market
 WHERE r.ended AND (n.ended_at IS NULL OR n.ended_at > now() - interval '7 days')
   AND NOT EXISTS (SELECT FROM store.runs o JOIN store.slices os USING (gatherer, lane, slice)
                    WHERE o.market = r.market AND o.gatherer = r.gatherer AND NOT o.ended AND o.cover_from IS NOT NULL
                      AND os.channel = s.channel)
 ORDER BY r.market, s.channel, r.gatherer, r.cover_to DESC NULLS LAST
