SELECT started_at, ended_at FROM store.gaps
 WHERE market = $1 AND channel = 'orderbook_delta' AND healed_at IS NULL
UNION ALL
SELECT started_at, ended_at FROM store.beginnings WHERE market = $1
 ORDER BY started_at
