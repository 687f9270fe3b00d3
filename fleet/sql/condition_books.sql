-- The order books in a stretch of time, in seconds of all markets' time lines: how long those are, what of it is a gap, and how
-- many markets are not sealed to the end of it. Beginnings, before a market's first book, apart.
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
