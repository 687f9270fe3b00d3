-- Channels that carry all markets, in a stretch of time: as condition_books.sql, in seconds of the channel. One that no
-- gatherer ever had is none.
WITH line AS MATERIALIZED (
    SELECT t.market, t.channel, t.tiles, greatest(l.fleet_started_at, $2) AS from_ts, $3::timestamptz AS to_ts
      FROM store.lease l, store.tiled t JOIN store.markets m USING (market)
     WHERE m.ticker = '' AND t.channel = ANY ($1::text[]) AND l.fleet_started_at < $3
), gaps AS MATERIALIZED (
    SELECT g.reason, sum(extract(epoch FROM least(g.ended_at, l.to_ts) - greatest(g.started_at, l.from_ts))) AS seconds
      FROM store.gaps g JOIN line l USING (market, channel)
     WHERE g.healed_at IS NULL AND g.refilled_at IS NULL AND g.started_at < l.to_ts AND g.ended_at > l.from_ts
     GROUP BY g.reason
)
SELECT (SELECT coalesce(sum(extract(epoch FROM to_ts - from_ts)), 0) FROM line) AS seconds,
       (SELECT count(*) FROM line WHERE NOT tiles @> tstzrange(from_ts, to_ts)) AS unsealed,
       (SELECT coalesce(sum(seconds), 0) FROM gaps WHERE reason = 'before_subscription') AS beginnings,
       (SELECT coalesce(jsonb_object_agg(reason, round(seconds, 3)), '{}') FROM gaps WHERE reason <> 'before_subscription') AS lost
