-- What is listed as not recorded and still is, by channel, beginnings of markets apart: how many gaps, how long they are
-- together, and how long of it lies in the last day. Of order books in seconds of all their markets, each within its time line;
-- of a channel that carries all markets in seconds of the channel.
WITH open AS (
    SELECT g.channel, greatest(g.started_at, coalesce(l.first_seen, g.started_at)) AS from_ts,
           least(g.ended_at, l.ended_at) AS to_ts
      FROM store.gaps g LEFT JOIN store.market_lines l ON l.market = g.market AND l.ticker <> ''
     WHERE g.healed_at IS NULL AND g.refilled_at IS NULL AND g.reason <> 'before_subscription'
)
SELECT channel, count(*) AS gaps, round(sum(extract(epoch FROM to_ts - from_ts)), 3)::float8 AS seconds,
       round(coalesce(sum(extract(epoch FROM to_ts - greatest(from_ts, $1))) FILTER (WHERE to_ts > $1), 0), 3)::float8 AS last_day_seconds
  FROM open WHERE to_ts > from_ts
 GROUP BY channel ORDER BY channel
