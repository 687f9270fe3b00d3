SELECT started_at, ended_at FROM store.gaps
 WHERE market = $1 AND channel = 'orderbook_delta' AND healed_at IS NULL
UNION ALL
SELECT started_at, ended_at FROM store.beginnings WHERE market = $1
UNION ALL
SELECT day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC' FROM store.detached
 ORDER BY started_at
