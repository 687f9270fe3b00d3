UPDATE store.lines l SET first_seen = x.first_seen, ended_at = x.ended_at, over = false
  FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[]) x (market, first_seen, ended_at)
 WHERE l.market = x.market AND (l.first_seen, l.ended_at) IS DISTINCT FROM (x.first_seen, x.ended_at)
RETURNING l.market, l.first_seen, l.ended_at
