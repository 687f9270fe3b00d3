-- Gaps of the trade channel that are over for $1, and were not tried for as long.
SELECT g.gap, g.started_at, g.ended_at, coalesce(r.tries, 0) AS tries
  FROM store.gaps g LEFT JOIN store.refills r USING (gap)
 WHERE g.channel = 'trade' AND g.healed_at IS NULL AND g.refilled_at IS NULL
   AND g.ended_at < now() - $1::interval AND (r.tried_at IS NULL OR r.tried_at < now() - $1::interval)
 ORDER BY g.gap LIMIT 20
