-- name: condition_books
-- The order books in a stretch of time, in seconds of all markets' time lines: how long those are, what of it is a gap, and
-- how many markets are not sealed to the end of it. Beginnings, before a market's first book, apart.
WITH lines AS MATERIALIZED (
    SELECT extract(epoch FROM least(ended_at, $2) - greatest(first_seen, $1)) AS seconds,
           sealed_until < least(ended_at, $2) AS unsealed
      FROM coverage
     WHERE channel = 'orderbook_delta' AND first_seen < $2 AND coalesce(ended_at, 'infinity') > greatest($1, first_seen)
), gaps AS MATERIALIZED (
    SELECT reason, sum(extract(epoch FROM least(ended_at, $2) - greatest(started_at, $1))) AS seconds
      FROM coverage_gaps
     WHERE channel = 'orderbook_delta' AND healed_at IS NULL AND started_at < $2 AND ended_at > $1
     GROUP BY reason
)
SELECT (SELECT coalesce(sum(seconds), 0) FROM lines) AS seconds,
       (SELECT count(*) FROM lines WHERE unsealed) AS unsealed,
       (SELECT coalesce(sum(seconds), 0) FROM gaps WHERE reason = 'before_subscription') AS beginnings,
       (SELECT coalesce(jsonb_object_agg(reason, round(seconds, 3)), '{}') FROM gaps WHERE reason <> 'before_subscription') AS lost

-- name: condition_channels
-- As `condition_books`, of channels that carry all markets, in seconds of the channel. One that no gatherer ever had is none.
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

-- name: condition_checks
-- Of the hours in a stretch of time: how many are archived, and how often each check of them failed.
SELECT (SELECT count(*) FROM store.exports WHERE hour >= $1 AND hour < $2) AS archived_hours,
       (SELECT coalesce(jsonb_object_agg(check_name, failed), '{}')
          FROM (SELECT check_name, sum(failed) AS failed FROM checks WHERE hour >= $1 AND hour < $2 GROUP BY 1) c) AS failed
