-- name: verify_lines
-- How many time lines there are.
SELECT count(*) FROM coverage

-- name: verify_gap_overlaps
-- Open gaps that a finished claim covers, or that lie over each other: a stretch is covered or listed, never both.
-- A late copy on its way through a gap, whose horizon lies inside it, is let through.
SELECT m.ticker, g.channel, g.started_at, g.ended_at, 'a claim' AS other
  FROM store.gaps g JOIN store.markets m USING (market)
 WHERE g.healed_at IS NULL AND g.reason <> 'step_back' AND g.ended_at > $1
   AND EXISTS (SELECT FROM store.claims c WHERE c.market = g.market AND c.channel = g.channel
                  AND c.from_ts < g.ended_at AND c.to_ts > g.started_at)
   AND NOT EXISTS (SELECT FROM store.runs r JOIN store.slices s USING (gatherer, lane, slice)
                    WHERE r.market = g.market AND NOT r.ended AND s.horizon > g.started_at AND s.horizon < g.ended_at)
   AND NOT EXISTS (SELECT FROM store.gaps b WHERE b.market = g.market AND b.channel = g.channel AND b.reason = 'step_back')
UNION ALL
SELECT m.ticker, g.channel, g.started_at, g.ended_at, 'another gap'
  FROM store.gaps g JOIN store.gaps o USING (market, channel) JOIN store.markets m USING (market)
 WHERE g.healed_at IS NULL AND o.healed_at IS NULL AND g.gap < o.gap AND g.ended_at > $1
   AND g.started_at < o.ended_at AND o.started_at < g.ended_at
   AND g.reason <> 'step_back' AND o.reason <> 'step_back'

-- name: verify_unsealed
-- Time lines that have stood still: neither covered nor listed since.
SELECT ticker, channel, sealed_until FROM coverage
 WHERE sealed_until < now() - $1::interval AND (ended_at IS NULL OR sealed_until < ended_at)
 ORDER BY sealed_until

-- name: verify_accounts
-- How many accounts there are.
SELECT count(*) FROM store.accounts

-- name: account_gaps
-- Accounts that do not follow the one before them. Accounts of a lane have no holes; those of a lane that was put back begin
-- again where it is read again.
SELECT gatherer, from_batch
  FROM (SELECT a.gatherer, a.from_batch,
               lag(a.to_batch, 1, coalesce(p.read_again, 0))
                   OVER (PARTITION BY a.gatherer, a.lane, a.reading ORDER BY a.from_batch) AS before
          FROM store.accounts a
          LEFT JOIN (SELECT gatherer, lane, read_again,
                            row_number() OVER (PARTITION BY gatherer, lane ORDER BY put_back) AS reading
                       FROM store.put_backs) p USING (gatherer, lane, reading)) a
 WHERE from_batch <> before + 1

-- name: verify_inserted
-- How many changes the accounts have as inserted, and how many are there, wait for an export, or have left for the archive.
SELECT coalesce((SELECT sum(inserted) FROM store.accounts), 0)::bigint + (SELECT healed_rows FROM store.lease) AS inserted,
       (SELECT count(*) FROM store.deltas) + (SELECT count(*) FROM store.late_deltas)
       + (SELECT coalesce(sum(rows + late_rows), 0) FROM store.detached)::bigint AS stored

-- name: verify_stored
-- How many changes of a stretch of time are stored.
SELECT count(*) FROM store.deltas WHERE exchange_ts >= $1 AND exchange_ts < $2

-- name: verify_ordinals
-- Groups whose ordinals are not 0, 1, 2 ..., inside what is covered: a change is missing.
SELECT m.ticker, d.exchange_ts, count(*) AS changes, max(d.ordinal) AS greatest
  FROM store.deltas d JOIN store.markets m USING (market)
 WHERE d.exchange_ts >= $1 AND d.exchange_ts < $2
 GROUP BY m.ticker, d.market, d.exchange_ts
HAVING max(d.ordinal) + 1 <> count(*)
   AND EXISTS (SELECT FROM store.claims c WHERE c.market = d.market AND c.channel = 'orderbook_delta'
                  AND c.from_ts <= d.exchange_ts AND d.exchange_ts < c.to_ts)

-- name: verify_markets
-- Markets with books to compare, chosen at random; `sealed_until`: up to where, if that is before the end of the stretch.
SELECT m.market, m.ticker, c.sealed_until
  FROM (SELECT market, ticker FROM store.markets m
         WHERE ticker <> '' AND EXISTS (SELECT FROM store.snapshots s WHERE s.market = m.market AND s.exchange_ts >= $1 AND s.exchange_ts < $2)
         ORDER BY random() LIMIT $3) m
  LEFT JOIN coverage c ON c.ticker = m.ticker AND c.channel = 'orderbook_delta' AND c.sealed_until < $2
       AND (c.ended_at IS NULL OR c.sealed_until < c.ended_at)

-- name: verify_books
-- A market's books within a stretch of time, by their places, and resets that were seen in it.
SELECT exchange_ts, after_ordinal, taken_at, is_reset, coalesce(yes, '{}') AS yes, coalesce(no, '{}') AS no FROM store.snapshots
 WHERE market = $1 AND verified IS NOT FALSE
   AND ((exchange_ts >= $2 AND exchange_ts < $3) OR (is_reset AND taken_at >= $2 AND taken_at < $3))
 ORDER BY exchange_ts, after_ordinal, taken_at

-- name: verify_changes
-- A market's changes within a stretch of time, in order.
SELECT exchange_ts, ordinal, side, price, delta FROM store.deltas
 WHERE market = $1 AND exchange_ts >= $2 AND exchange_ts < $3 ORDER BY exchange_ts, ordinal

-- name: verify_gaps_of
-- Where a market's changes are not in production: gaps, its beginning, and days that have left.
SELECT started_at, ended_at FROM store.gaps
 WHERE market = $1 AND channel = 'orderbook_delta' AND healed_at IS NULL
UNION ALL
SELECT started_at, ended_at FROM store.beginnings WHERE market = $1
UNION ALL
SELECT day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC' FROM store.detached
 ORDER BY started_at

-- name: verify_exports
-- What the checks of archived hours found.
SELECT hour, check_name, compared, failed, examples FROM checks WHERE hour >= $1 AND hour < $2 ORDER BY hour, check_name

-- name: verify_instance
-- Of a gatherer: the instance of its database.
SELECT instance FROM instance

-- name: verify_lanes
-- How far each lane of a gatherer's instance is stored.
SELECT c.lane, c.batch FROM store.cursors c JOIN store.gatherers g USING (gatherer) WHERE g.instance = $1 AND c.batch > 0

-- name: verify_kept
-- Of a gatherer: the first batch that each lane still has.
SELECT lane, min(batch) AS batch FROM batches GROUP BY lane

-- name: verify_sample
-- Of a gatherer: placed changes of some batches, with their tickers.
SELECT m.ticker, d.exchange_ms, d.ordinal, d.side, d.price, d.delta
  FROM deltas d JOIN markets m USING (market)
 WHERE d.lane = $1 AND d.batch BETWEEN $2 AND $3 AND d.ordinal >= 0 LIMIT $4

-- name: verify_lookup
-- Changes as a gatherer ($7) has them that production lacks or has otherwise, and that are not disputed: from a
-- contradiction's millisecond on a run gives no rows for as long as it claims nothing. Conflicts of other kinds (a trade, a
-- book) keep no change back.
SELECT x.ticker, x.exchange_ts, x.ordinal, d.market IS NOT NULL AS stored
  FROM unnest($1::text[], $2::timestamptz[], $3::int[], $4::smallint[], $5::int[], $6::bigint[])
       x (ticker, exchange_ts, ordinal, side, price, delta)
  LEFT JOIN store.markets m ON m.ticker = x.ticker
  LEFT JOIN store.deltas d ON d.market = m.market AND d.exchange_ts = x.exchange_ts AND d.ordinal = x.ordinal
 WHERE (d.side, d.price, d.delta) IS DISTINCT FROM (x.side, x.price, x.delta)
   AND NOT EXISTS (SELECT FROM store.conflicts c
                    WHERE c.kind = 'conflict' AND c.market = m.market AND c.exchange_ts <= x.exchange_ts
                      AND (c.exchange_ts = x.exchange_ts
                           OR NOT EXISTS (SELECT FROM store.claims k JOIN store.gatherers g USING (gatherer)
                                           WHERE g.instance = $7 AND k.market = m.market AND k.channel = 'orderbook_delta'
                                             AND k.from_ts <= x.exchange_ts AND x.exchange_ts < k.to_ts)))
   AND NOT EXISTS (SELECT FROM store.detached g WHERE g.day = (x.exchange_ts AT TIME ZONE 'UTC')::date)
