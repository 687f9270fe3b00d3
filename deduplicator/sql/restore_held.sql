-- What runs that have ended hold, of some markets.
SELECT x.market, array_position($1::text[], x.channel)::bigint, x.gatherer::bigint,
       (extract(epoch FROM lower(x.held)) * 1000)::bigint, (extract(epoch FROM upper(x.held)) * 1000)::bigint
  FROM (SELECT r.market, s.channel, r.gatherer, unnest(range_agg(tstzrange(r.cover_from, r.cover_to))) AS held
          FROM unnest($2::bigint[]) w (market) JOIN store.runs r USING (market)
          JOIN store.slices s USING (gatherer, lane, slice)
         WHERE r.ended AND NOT r.excluded AND r.cover_from < r.cover_to
         GROUP BY r.market, s.channel, r.gatherer
        UNION ALL
        SELECT p.market, p.channel, p.gatherer, tstzrange(p.from_ts, p.to_ts)
          FROM unnest($2::bigint[]) w (market) JOIN store.parts p USING (market)) x
