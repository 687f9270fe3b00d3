SELECT * FROM store.slices s
 WHERE NOT s.ended OR EXISTS (SELECT FROM store.runs r
                               WHERE (r.gatherer, r.lane, r.slice) = (s.gatherer, s.lane, s.slice) AND NOT r.ended)
