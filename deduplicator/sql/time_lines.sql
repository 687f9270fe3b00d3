-- Numbered markets that are new or have changed since, with what REST says of their times: milliseconds, -1 where unknown.
WITH changed AS (
    SELECT n.market FROM store.markets n WHERE n.seen_at >= $1
    UNION
    SELECT n.market FROM markets m JOIN store.markets n USING (ticker) WHERE m.updated_at >= $1
)
SELECT n.market, floor(extract(epoch FROM n.seen_at) * 1000)::bigint,
       coalesce(floor(extract(epoch FROM n.first_seen) * 1000), -1)::bigint,
       coalesce(floor(extract(epoch FROM n.ended_at) * 1000), -1)::bigint,
       coalesce(floor(extract(epoch FROM m.open_time) * 1000), -1)::bigint,
       CASE WHEN m.status IN ('determined', 'finalized') AND m.close_time IS NOT NULL
            THEN floor(extract(epoch FROM greatest(m.close_time, m.settlement_ts)) * 1000)::bigint ELSE -1 END
  FROM changed JOIN store.markets n USING (market) LEFT JOIN markets m USING (ticker)
 WHERE n.ticker <> '' AND (n.ended_at IS NULL OR n.ended_at > now() - interval '7 days')
