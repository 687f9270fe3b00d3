SELECT ticker, channel, (extract(epoch FROM started_at) * 1000)::bigint AS started_at,
       (extract(epoch FROM ended_at) * 1000)::bigint AS ended_at, reason, book_equal,
       (extract(epoch FROM healed_at) * 1000000)::bigint AS healed_at
  FROM (SELECT ticker, channel, started_at, ended_at, reason, book_equal, healed_at
          FROM coverage_gaps
         WHERE ticker = ANY($1::text[]) AND started_at < $3 AND ended_at > $2
        UNION ALL
        -- Before the fleet's first moment no market has a time line, and nothing is recorded.
        SELECT ticker, channel, timestamptz 'epoch', l.fleet_started_at, 'before_fleet', NULL, NULL
          FROM store.lease l, unnest($1::text[]) t (ticker),
               unnest(ARRAY['orderbook_delta', 'trade', CASE WHEN ticker LIKE 'KXMVE%' THEN 'multivariate_market_lifecycle'
                                                            ELSE 'market_lifecycle_v2' END]) c (channel)
         WHERE $2 < l.fleet_started_at) g
 ORDER BY ticker COLLATE "C", channel, 3, 4, reason
