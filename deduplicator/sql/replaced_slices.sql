-- What goes on of a gatherer's former instances.
SELECT s.gatherer, s.lane, s.slice FROM store.slices s JOIN store.gatherers g USING (gatherer)
 WHERE g.gatherer_id = $1 AND g.gatherer <> $2 AND NOT s.ended
