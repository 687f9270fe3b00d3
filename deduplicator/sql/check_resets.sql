SELECT market, exchange_ts FROM store.snapshots
 WHERE is_reset AND verified IS NOT FALSE AND exchange_ts > $1 AND exchange_ts < $2 AND market = ANY ($3::bigint[])
