-- name: report_counts
-- Counts of a stretch of time: of what was stored, disputed, unplaced and quarantined.
SELECT (SELECT coalesce(sum(delta_rows), 0) FROM store.exports WHERE hour >= $1 AND hour < $2)::bigint AS changes_archived,
       (SELECT count(*) FROM store.trades WHERE exchange_ts >= $1 AND exchange_ts < $2) AS trades,
       (SELECT count(*) FROM store.trades WHERE exchange_ts >= $1 AND exchange_ts < $2 AND source = 'rest') AS trades_from_rest,
       (SELECT count(*) FROM store.unplaced WHERE exchange_ts >= $1 AND exchange_ts < $2) AS unplaced,
       (SELECT count(*) FROM store.conflicts WHERE exchange_ts >= $1 AND exchange_ts < $2) AS conflicts,
       (SELECT count(*) FROM store.quarantine WHERE received_at >= $1 AND received_at < $2) AS quarantined,
       (SELECT count(*) FROM store.exports WHERE hour >= $1 AND hour < $2) AS hours_archived,
       (SELECT count(*) FROM store.exports WHERE hour >= $1 AND hour < $2 AND NOT complete) AS hours_with_unsealed

-- name: report_checks
-- How many comparisons each check made in a stretch of time, and how many failed.
SELECT check_name, sum(compared)::bigint AS compared, sum(failed)::bigint AS failed FROM checks WHERE hour >= $1 AND hour < $2 GROUP BY check_name ORDER BY check_name

-- name: report_lines
-- How long each market's time line is within a stretch of time, up to where it is sealed.
SELECT ticker, extract(epoch FROM least(sealed_until, ended_at, $2) - greatest(first_seen, $1))::float8 AS seconds,
       sealed_until < least(ended_at, $2) AS unsealed
  FROM coverage
 WHERE channel = 'orderbook_delta' AND first_seen < $2 AND least(sealed_until, ended_at) > greatest($1, first_seen)
 ORDER BY ticker

-- name: report_copies
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

-- name: report_gaps
-- What was not recorded of the order books in a stretch of time, by market and reason.
SELECT ticker, reason, count(*) AS gaps,
       sum(extract(epoch FROM least(ended_at, $2) - greatest(started_at, $1)))::float8 AS seconds
  FROM coverage_gaps
 WHERE channel = 'orderbook_delta' AND healed_at IS NULL AND started_at < $2 AND ended_at > $1
 GROUP BY ticker, reason ORDER BY ticker, reason

-- name: report_lags
-- How long changes took, by gatherer; '' is production.
SELECT coalesce(g.gatherer_id, '') AS name, l.from_ms, sum(l.changes)::bigint AS changes, min(l.least_ms) AS least_ms, max(l.most_ms) AS most_ms
  FROM store.lags l LEFT JOIN store.gatherers g USING (gatherer)
 WHERE l.hour >= $1 AND l.hour < $2
 GROUP BY 1, 2 ORDER BY 1, 2

-- name: report_fields
-- Fields that no row keeps, known by the end of the stretch.
SELECT field, min(first_seen) AS first_seen FROM store.unknown_fields WHERE first_seen < $1 GROUP BY field ORDER BY field
