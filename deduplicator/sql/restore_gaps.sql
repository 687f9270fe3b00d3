SELECT g.market, g.channel, g.started_at, g.ended_at, g.reason, g.had
  FROM unnest($1::bigint[]) w (market) JOIN store.gaps g USING (market)
 WHERE g.healed_at IS NULL
