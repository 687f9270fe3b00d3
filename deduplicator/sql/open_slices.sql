-- Slices that go on, of lanes that were put back, and until when was received what was read of each lane before that.
SELECT s.lane, s.slice, c.again_until_us FROM store.slices s JOIN store.cursors c USING (gatherer, lane)
 WHERE s.gatherer = $1 AND c.readings > 0 AND NOT s.ended
