-- Before the hour that tells of their end is dropped.
DELETE FROM slices s USING horizons h
 WHERE (h.lane, h.slice) = (s.lane, s.slice) AND h.ended AND h.stored_at < $3 AND s.lane = $1 AND s.batch <= $2
