-- What goes on of instances that no configured gatherer has: former ones of this gatherer, and those of others that are
-- configured no longer.
SELECT s.gatherer, s.lane, s.slice, g.gatherer_id = $1 AS replaced FROM store.slices s JOIN store.gatherers g USING (gatherer)
 WHERE g.gatherer <> $2 AND (g.gatherer_id = $1 OR g.gatherer_id <> ALL ($3::text[])) AND NOT s.ended
