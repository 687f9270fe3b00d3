-- Why the last run of a gatherer ended that has none open, of some markets; one that never claimed says nothing of it.
SELECT DISTINCT ON (r.market, s.channel, r.gatherer) r.market, s.channel, r.gatherer, r.reason
  FROM unnest($1::bigint[]) w (market) JOIN store.runs r USING (market) JOIN store.slices s USING (gatherer, lane, slice)
 WHERE r.ended AND r.cover_from IS NOT NULL
   AND NOT EXISTS (SELECT FROM store.runs o JOIN store.slices os USING (gatherer, lane, slice)
                    WHERE o.market = r.market AND o.gatherer = r.gatherer AND NOT o.ended AND o.cover_from IS NOT NULL
                      AND os.channel = s.channel)
 ORDER BY r.market, s.channel, r.gatherer, r.cover_to DESC NULLS LAST
