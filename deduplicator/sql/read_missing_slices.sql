-- Which of these slices are not here; lost: and the lane has loaded what was received later than all that was read of it,
-- or is closed, or is not here at all while others have loaded such, so that they do not come again.
SELECT x.lane, x.slice,
       coalesce((SELECT b.received_us FROM batches b WHERE b.lane = x.lane ORDER BY b.batch DESC LIMIT 1), 0) > x.until_us
       OR EXISTS (SELECT FROM lanes l WHERE l.lane = x.lane AND l.state = 'closed')
       OR NOT EXISTS (SELECT FROM lanes l WHERE l.lane = x.lane)
          AND EXISTS (SELECT FROM lanes l CROSS JOIN LATERAL
                        (SELECT b.received_us FROM batches b WHERE b.lane = l.lane ORDER BY b.batch DESC LIMIT 1) last
                       WHERE last.received_us > x.until_us) AS lost
  FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) x (lane, slice, until_us)
 WHERE NOT EXISTS (SELECT FROM slices s WHERE s.lane = x.lane AND s.slice = x.slice)
