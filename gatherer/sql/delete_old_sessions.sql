DELETE FROM sessions o
 WHERE o.lane = $1 AND o.batch <= $2
   AND NOT EXISTS (SELECT FROM slices s WHERE s.lane = o.lane AND s.session = o.session)
