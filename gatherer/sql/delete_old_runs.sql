DELETE FROM runs r
 WHERE r.lane = $1 AND r.batch <= $2
   AND NOT EXISTS (SELECT FROM slices s WHERE (s.lane, s.slice) = (r.lane, r.slice))
