-- What runs that have ended hold, of markets whose time line has not been over for long.
SELECT x.market, array_position($1::text[], x.channel)::bigint,
       (extract(epoch FROM lower(x.held)) * 1000)::bigint, (extract(epoch FROM upper(x.held)) * 1000)::bigint
  FROM (SELECT r.market, s.channel, unnest(range_agg(tstzrange(r.cover_from, r.cover_to))) AS held
          FROM store.runs r JOIN store.slices s USING (gatherer, lane, slice) JOIN store.markets n ON n.market = r.market
         WHERE r.ended AND r.cover_from < r.cover_to
           AND (n.ended_at IS NULL OR n.ended_at > now() - interval '7 days')
         GROUP BY r.market, s.channel
        UNION ALL
        SELECT p.market, p.channel, tstzrange(p.from_ts, p.to_ts)
          FROM store.parts p JOIN store.markets n USING (market)
         WHERE n.ended_at IS NULL OR n.ended_at > now() - interval '7 days') x
