-- As gaps.sql: how many, of how many markets, and how long they are together.
SELECT channel, reason, count(*) AS gaps, count(DISTINCT ticker) AS markets,
       round(sum(extract(epoch FROM ended_at - started_at)), 3) AS market_seconds,
       count(*) FILTER (WHERE healed_at IS NULL) AS open,
       coalesce(round(sum(extract(epoch FROM ended_at - started_at)) FILTER (WHERE healed_at IS NULL), 3), 0) AS open_seconds
  FROM coverage_gaps
 WHERE ($1::text IS NULL OR ticker = $1) AND ($2::text IS NULL OR channel = $2)
   AND coalesce(reason = $3, reason <> 'before_subscription') AND ($4::timestamptz IS NULL OR ended_at > $4)
   AND (NOT $5::boolean OR healed_at IS NULL)
 GROUP BY channel, reason ORDER BY market_seconds DESC, channel, reason
