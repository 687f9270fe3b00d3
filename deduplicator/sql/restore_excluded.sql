SELECT r.market, s.channel, r.gatherer, r.lane, r.run, r.slice, r.cover_from, r.cover_to
  FROM store.runs r JOIN store.slices s USING (gatherer, lane, slice)
 WHERE r.reason = 'conflict' AND r.cover_from IS NOT NULL AND r.cover_to IS NOT NULL AND NOT s.ended
