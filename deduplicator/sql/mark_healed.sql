UPDATE store.gaps g SET healed_at = now()
  FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::timestamptz[]) x (market, channel, started_at, ended_at)
 WHERE (g.market, g.channel, g.started_at, g.ended_at) = (x.market, x.channel, x.started_at, x.ended_at)
   AND g.healed_at IS NULL
RETURNING g.market, g.channel, g.started_at, g.ended_at, g.reason
