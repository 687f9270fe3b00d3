-- Gaps of the trade channel that are over for $1, other than those that wait ($2); those that were tried, after twice as
-- long each time, and after those that were not.
SELECT g.gap, g.started_at, g.ended_at
  FROM store.gaps g LEFT JOIN store.refills r USING (gap)
 WHERE g.channel = 'trade' AND g.healed_at IS NULL AND g.refilled_at IS NULL AND g.ended_at < now() - $1::interval
   AND g.gap <> ALL ($2::bigint[])
   AND (r.tried_at IS NULL OR r.tried_at < now() - least($1::interval * power(2, least(r.tries, 20)), interval '6 hours'))
 ORDER BY coalesce(r.tries, 0), g.gap LIMIT 20
