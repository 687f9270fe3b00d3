-- Where resets have their places, and when they were seen.
SELECT market, exchange_ts AS at FROM store.snapshots
 WHERE is_reset AND verified IS NOT FALSE AND exchange_ts > $1 AND exchange_ts < $2 AND market = ANY ($3::bigint[])
UNION
SELECT market, taken_at FROM store.snapshots
 WHERE is_reset AND verified IS NOT FALSE AND taken_at > $1 AND taken_at < $2 AND market = ANY ($3::bigint[])
