-- Numbered markets that are new or have changed since, with what REST, or the stream, says of their times: milliseconds,
-- -1 where unknown. Of those that are over only the ones whose end is another one now, or none.
WITH changed AS (
    SELECT market FROM store.lines WHERE seen_at >= $1
    UNION
    SELECT n.market FROM markets m JOIN store.markets n USING (ticker) WHERE m.updated_at >= $1
    UNION
    SELECT market FROM store.lifecycle WHERE stored_at >= $1 AND event_type IN ('determined', 'settled', 'activated')
), times AS (
    SELECT n.market, n.over, n.seen_at, n.first_seen, n.ended_at, m.open_time, m.updated_at AS listed_at,
           CASE WHEN m.status IN ('determined', 'finalized') AND m.close_time IS NOT NULL
                THEN greatest(m.close_time, m.settlement_ts)
                -- REST does not say so (yet): the stream's own word, so that a market ends while the lists cannot be read;
                -- unless the stream took it back, or REST, which may be some minutes old, lists it as open long after.
                ELSE (SELECT max(coalesce(l.exchange_ts, l.received_at)) FROM store.lifecycle l
                       WHERE l.market = n.market AND l.event_type IN ('determined', 'settled')
                         AND (m.status = 'active' AND m.updated_at > l.stored_at + interval '10 minutes') IS NOT TRUE
                         AND NOT EXISTS (SELECT FROM store.lifecycle a
                                          WHERE a.market = l.market AND a.event_type = 'activated' AND a.received_at > l.received_at))
           END AS over_at
      FROM changed JOIN store.market_lines n USING (market) LEFT JOIN markets m USING (ticker)
     WHERE n.ticker <> ''
)
SELECT market, floor(extract(epoch FROM seen_at) * 1000)::bigint,
       coalesce(floor(extract(epoch FROM first_seen) * 1000), -1)::bigint,
       coalesce(floor(extract(epoch FROM ended_at) * 1000), -1)::bigint,
       coalesce(floor(extract(epoch FROM open_time) * 1000), -1)::bigint,
       coalesce(floor(extract(epoch FROM over_at) * 1000), -1)::bigint
  FROM times
 WHERE NOT over OR (over_at > ended_at - interval '60 seconds' AND ended_at > now() - interval '7 days')
       -- It is open again.
    OR (over_at IS NULL AND ended_at IS NOT NULL AND listed_at > now() - interval '7 days')
