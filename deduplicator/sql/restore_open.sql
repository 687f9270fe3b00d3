SELECT r.lane::bigint, r.run, r.slice, r.market, (extract(epoch FROM r.cover_from) * 1000)::bigint,
       array_position($1::text[], s.channel)::bigint, r.fixed::int::bigint
  FROM store.runs r JOIN store.slices s USING (gatherer, lane, slice)
 WHERE r.gatherer = $2 AND NOT r.ended AND r.cover_from IS NOT NULL
