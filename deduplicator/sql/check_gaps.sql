-- What was not recorded of the order books in a stretch of time.
SELECT market, started_at, ended_at FROM store.gaps
 WHERE channel = 'orderbook_delta' AND healed_at IS NULL AND started_at < $2 AND ended_at > $1 AND market = ANY ($3::bigint[])
UNION ALL
SELECT market, started_at, ended_at FROM store.beginnings
 WHERE started_at < $2 AND ended_at > $1 AND market = ANY ($3::bigint[])
