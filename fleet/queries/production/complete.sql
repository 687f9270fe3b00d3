-- Is a stretch of a market's book complete?
-- No row: everything that happened to the market's book in it is here.
SELECT g.started_at, g.ended_at, g.reason
  FROM coverage_gaps g
 WHERE g.ticker = :ticker AND g.channel = 'orderbook_delta' AND g.healed_at IS NULL
   AND g.started_at < :to AND g.ended_at > :from
UNION ALL
SELECT c.sealed_until, :to::timestamptz, 'not sealed yet'
  FROM coverage c
 WHERE c.ticker = :ticker AND c.channel = 'orderbook_delta' AND c.sealed_until < :to
   AND (c.ended_at IS NULL OR c.sealed_until < c.ended_at)
UNION ALL
SELECT :from::timestamptz, least(c.first_seen, :to::timestamptz), 'before it was known'
  FROM coverage c
 WHERE c.ticker = :ticker AND c.channel = 'orderbook_delta' AND c.first_seen > :from
UNION ALL
SELECT greatest(d.day::timestamp AT TIME ZONE 'UTC', :from), least((d.day + 1)::timestamp AT TIME ZONE 'UTC', :to), 'in the archive only'
  FROM store.detached d
 WHERE d.day::timestamp AT TIME ZONE 'UTC' < :to AND (d.day + 1)::timestamp AT TIME ZONE 'UTC' > :from
UNION ALL
SELECT :from::timestamptz, :to::timestamptz, 'no such market is known'
 WHERE NOT EXISTS (SELECT FROM coverage c WHERE c.ticker = :ticker AND c.channel = 'orderbook_delta')
