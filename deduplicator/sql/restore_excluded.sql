SELECT r.market, s.channel, r.gatherer, r.lane, r.run, r.slice, r.cover_from, r.cover_to, r.fixed
  FROM store.runs r JOIN store.slices s USING (gatherer, lane, slice)
 WHERE r.excluded AND NOT s.ended
