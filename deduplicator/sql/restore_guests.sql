-- Runs that are not in the merge's state, of which a gatherer says something more.
SELECT r.gatherer, r.lane, r.run, r.slice, r.market, r.cover_from, r.cover_to, r.ended, r.reason, r.fixed,
       s.session, s.sid, s.channel, s.ended AS slice_ended
  FROM unnest($1::smallint[], $2::smallint[], $3::bigint[]) w (gatherer, lane, run)
  JOIN store.runs r USING (gatherer, lane, run) JOIN store.slices s USING (gatherer, lane, slice)
