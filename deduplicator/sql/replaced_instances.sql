-- Former instances of a gatherer of which something goes on.
SELECT g.gatherer FROM store.gatherers g
 WHERE g.gatherer_id = $1 AND g.gatherer <> $2
   AND EXISTS (SELECT FROM store.slices s WHERE s.gatherer = g.gatherer AND NOT s.ended)
