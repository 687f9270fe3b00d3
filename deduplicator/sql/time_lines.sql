-- Numbered markets that are new or have changed since, with what REST, or the stream, says of their times: milliseconds, -1 where unknown.
WITH changed AS (
    SELECT n.market FROM store.markets n WHERE n.seen_at >= $1
    UNION
    SELECT n.market FROM markets m JOIN store.markets n USING (ticker) WHERE m.updated_at >= $1
    UNION
    SELECT market FROM store.lifecycle WHERE stored_at >= $1 AND event_type IN ('determined', 'settled')
)
SELECT n.market, floor(extract(epoch FROM n.seen_at) * 1000)::bigint,
       coalesce(floor(extract(epoch FROM n.first_seen) * 1000), -1)::bigint,
       coalesce(floor(extract(epoch FROM n.ended_at) * 1000), -1)::bigint,
       coalesce(floor(extract(epoch FROM m.open_time) * 1000), -1)::bigint,
       CASE WHEN m.status IN ('determined', 'finalized') AND m.close_time IS NOT NULL
            THEN floor(extract(epoch FROM greatest(m.close_time, m.settlement_ts)) * 1000)::bigint
            -- REST does not say so (yet): the stream's own word, so that a market ends while the lists cannot be read.
            ELSE coalesce((SELECT floor(extract(epoch FROM max(coalesce(l.exchange_ts, l.received_at))) * 1000)::bigint
                             FROM store.lifecycle l
                            WHERE l.market = n.market AND l.event_type IN ('determined', 'settled')), -1) END
  FROM changed JOIN store.markets n USING (market) LEFT JOIN markets m USING (ticker)
 WHERE n.ticker <> '' AND (n.ended_at IS NULL OR n.ended_at > now() - interval '7 days')
