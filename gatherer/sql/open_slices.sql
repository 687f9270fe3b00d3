-- Slices of a lane that never ended, with the last horizon that was reported for them.
SELECT s.slice, s.session, coalesce(max(h.horizon_ms), -1) AS horizon_ms
  FROM slices s LEFT JOIN horizons h ON h.slice = s.slice AND h.lane = s.lane
 WHERE s.lane = $1
 GROUP BY s.slice, s.session
HAVING NOT coalesce(bool_or(h.ended), false)
