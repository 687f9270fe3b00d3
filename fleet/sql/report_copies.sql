-- How long each market's order book was held by so many gatherers, within a stretch of time and of its time line.
WITH lines AS MATERIALIZED (
    SELECT m.market, c.ticker, tstzrange(greatest(c.first_seen, $1), least(c.sealed_until, c.ended_at, $2)) AS line
      FROM coverage c JOIN store.markets m USING (ticker)
     WHERE c.channel = 'orderbook_delta' AND c.first_seen < $2 AND least(c.sealed_until, c.ended_at) > greatest($1, c.first_seen)
), held AS (
    SELECT l.market, l.ticker, unnest(range_agg(tstzrange(c.from_ts, c.to_ts) * l.line)) AS stretch
      FROM lines l JOIN store.claims c ON c.market = l.market
     WHERE c.channel = 'orderbook_delta' AND c.from_ts < $2 AND c.to_ts > $1
     GROUP BY l.market, l.ticker, c.gatherer
), edges AS (
    SELECT market, ticker, lower(stretch) AS at, 1 AS step FROM held
    UNION ALL
    SELECT market, ticker, upper(stretch), -1 FROM held
), depth AS (
    SELECT ticker, at, sum(step) OVER w AS copies, lead(at) OVER w AS until
      FROM edges WINDOW w AS (PARTITION BY market ORDER BY at, step ROWS UNBOUNDED PRECEDING)
)
SELECT ticker, copies::int AS copies, sum(extract(epoch FROM until - at))::float8 AS seconds
  FROM depth WHERE copies > 0 AND until > at
 GROUP BY ticker, copies ORDER BY ticker, copies
