-- Slices that go on, of lanes that were put back.
SELECT s.lane, s.slice FROM store.slices s JOIN store.cursors c USING (gatherer, lane)
 WHERE s.gatherer = $1 AND c.readings > 0 AND NOT s.ended
