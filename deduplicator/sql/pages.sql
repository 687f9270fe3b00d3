-- name: page_markets
-- Markets whose ticker, event or title has the words ($1, in lower case), in a state ($2: active, closed, all): the
-- greatest volume first.
SELECT m.ticker, m.status, m.event_ticker, coalesce(e.title, '') AS title, m.yes_sub_title, m.volume_fp AS volume, m.close_time
  FROM markets m LEFT JOIN events e ON e.ticker = m.event_ticker
 WHERE ($1 = '' OR strpos(lower(concat_ws(' ', m.ticker, e.title, m.yes_sub_title)), $1) > 0)
   AND ($2 = 'all' OR (m.status = 'active') = ($2 = 'active'))
 ORDER BY m.volume_fp DESC NULLS LAST, m.ticker LIMIT $3

-- name: page_edges
-- Begins and ends, within a stretch of time cut into buckets ($1, $2, $3), of sealed time lines, of gaps, and of what each
-- gatherer holds of the order books: counted, and their times added up, by bucket.
WITH lines AS MATERIALIZED (
    SELECT m.market, c.channel, greatest(c.first_seen, $1) AS from_ts, least(c.sealed_until, c.ended_at, $2) AS to_ts
      FROM coverage c JOIN store.markets m USING (ticker)
     WHERE c.first_seen < $2 AND least(c.sealed_until, c.ended_at) > greatest(c.first_seen, $1)
), stretches AS (
    SELECT 'line ' || channel AS kind, from_ts, to_ts FROM lines
    UNION ALL
    SELECT 'gap ' || g.channel, greatest(g.started_at, $1), least(g.ended_at, $2)
      FROM coverage_gaps g
     WHERE g.healed_at IS NULL AND g.started_at < $2 AND g.ended_at > $1
    UNION ALL
    SELECT 'held ' || x.gatherer_id, lower(x.stretch), upper(x.stretch)
      FROM (SELECT g.gatherer_id, unnest(range_agg(tstzrange(c.from_ts, c.to_ts) * tstzrange(l.from_ts, l.to_ts))) AS stretch
              FROM lines l
              JOIN store.claims c ON c.market = l.market AND c.channel = l.channel
              JOIN store.gatherers g USING (gatherer)
             WHERE l.channel = 'orderbook_delta' AND c.from_ts < l.to_ts AND c.to_ts > l.from_ts
             GROUP BY l.market, g.gatherer_id) x
), edges AS (
    SELECT kind, 1 AS sign, (extract(epoch FROM from_ts - $1) * 1000)::bigint AS at_ms FROM stretches WHERE to_ts > from_ts
    UNION ALL
    SELECT kind, -1, (extract(epoch FROM to_ts - $1) * 1000)::bigint FROM stretches WHERE to_ts > from_ts
)
SELECT kind, sign, (at_ms / (extract(epoch FROM $2::timestamptz - $1::timestamptz) * 1000 / $3::int)::bigint)::int AS bucket,
       count(*) AS count, sum(at_ms)::bigint AS sum_ms
  FROM edges GROUP BY kind, sign, bucket

-- name: open_gaps
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
