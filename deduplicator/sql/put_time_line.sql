UPDATE store.markets SET first_seen = $2, ended_at = $3 WHERE market = $1 AND (first_seen, ended_at) IS DISTINCT FROM ($2, $3)
