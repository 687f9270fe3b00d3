-- Begins and ends, within a stretch of time cut into buckets ($1, $2, $3), of sealed time lines, of gaps, and of what
-- each gatherer holds of the order books: counted, and their times added up, by bucket.
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
