-- name: hours_due
-- Hours to export: over, and changed by a step later than the one that the archive's objects show, or not sealed when they
-- were read. An hour that is not sealed yet waits, at first and between two exports. Which markets are sealed is looked up
-- for the few hours alone that depend on it: it means to look at all markets. A channel of which no gatherer ever held
-- anything is not waited for.
WITH hours AS MATERIALIZED (
    SELECT t.hour, t.hour + interval '1 hour' AS until, e.exported_at, coalesce(e.complete, false) AS complete,
           e.step IS NULL OR t.step > e.step AS stale
      FROM store.hours_touched t LEFT JOIN store.exports e USING (hour)
     WHERE t.hour + interval '1 hour' <= now() AND (e.complete IS NOT TRUE OR e.step IS NULL OR t.step > e.step)
), unsealed AS MATERIALIZED (
    SELECT h.hour, h.until, h.exported_at, h.stale, count(c.ticker) AS markets,
           (SELECT count(*) FROM store.channel_seals s WHERE s.sealed_until < h.until) AS channels
      FROM hours h LEFT JOIN coverage c
        ON c.channel = 'orderbook_delta' AND c.first_seen < h.until AND c.sealed_until < h.until
       AND (c.ended_at IS NULL OR c.sealed_until < c.ended_at)
     WHERE NOT h.complete
     GROUP BY h.hour, h.until, h.exported_at, h.stale
)
SELECT hour, markets AS unsealed FROM unsealed u
 WHERE (markets = 0 AND channels = 0 AND NOT EXISTS (SELECT FROM store.reset_votes v WHERE v.taken_at < u.until))
    OR (stale AND now() > coalesce(exported_at, until) + $1::interval)
UNION ALL
SELECT hour, 0 FROM hours WHERE complete
 ORDER BY 1

-- name: keep_days
-- Keep days from being dropped until the transaction ends.
LOCK TABLE store.deltas IN ACCESS SHARE MODE

-- name: export_begins
-- As of which moment and step an export reads, and the fleet's first day.
SELECT now(), step, fleet_started_at FROM store.lease

-- name: unsealed
-- Markets whose order books are not sealed up to a time.
SELECT m.market, c.ticker, c.sealed_until FROM coverage c JOIN store.markets m USING (ticker)
 WHERE c.channel = 'orderbook_delta' AND c.first_seen < $1 AND c.sealed_until < $1
   AND (c.ended_at IS NULL OR c.sealed_until < c.ended_at)
 ORDER BY c.ticker

-- name: unsealed_channels
-- Channels that carry all markets and are not sealed up to a time; `begun`: a gatherer held something of it once.
SELECT channel, sealed_until IS NOT NULL AS begun FROM store.channel_seals
 WHERE sealed_until IS NULL OR sealed_until < $1
 ORDER BY channel

-- name: is_detached
-- Whether the changes of a moment's day have left production.
SELECT EXISTS (SELECT FROM store.detached WHERE day = ($1::timestamptz AT TIME ZONE 'UTC')::date)

-- name: prefer_index
-- Keep the planner of this transaction from whole tables and bitmaps: it is to read an index in its order.
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off

-- name: prefer_nothing
-- Undo `prefer_index`.
SET LOCAL enable_seqscan = on;
SET LOCAL enable_bitmapscan = on

-- name: give_snapshot
-- The name of this transaction's snapshot, for another connection.
SELECT pg_export_snapshot()

-- name: take_snapshot
-- Read from another transaction's snapshot, whose name is put in for {}: the statement takes no parameters.
SET TRANSACTION SNAPSHOT '{}'

-- name: export_orderbook_deltas
-- Changes of an hour, in no order.
SELECT market, exchange_ts, ordinal, exchange_us, side, price, delta, received_at
  FROM store.deltas WHERE exchange_ts >= $1 AND exchange_ts < $2

-- name: export_late_deltas
-- Changes of an hour that came after its day had left production, in no order.
SELECT market, exchange_ts, ordinal, exchange_us, side, price, delta, received_at
  FROM store.late_deltas WHERE exchange_ts >= $1 AND exchange_ts < $2

-- name: export_tickers_of_deltas
-- Markets with changes between two midnights, each found by one look into the unique index.
WITH RECURSIVE found AS (
    (SELECT market FROM store.deltas WHERE exchange_ts >= $1 AND exchange_ts < $2 ORDER BY market LIMIT 1)
    UNION ALL
    SELECT (SELECT d.market FROM store.deltas d
             WHERE d.market > f.market AND d.exchange_ts >= $1 AND d.exchange_ts < $2 ORDER BY d.market LIMIT 1)
      FROM found f WHERE f.market IS NOT NULL
)
SELECT f.market, m.ticker FROM found f JOIN store.markets m USING (market)

-- name: export_tickers_of_late
-- Markets with changes of an hour that came after its day had left production.
SELECT DISTINCT market, ticker FROM store.late_deltas JOIN store.markets USING (market)
 WHERE exchange_ts >= $1 AND exchange_ts < $2

-- name: export_orderbook_openings
-- The book of every market at the beginning of the hour: what an hour needs to be replayed alone. `known`: it is founded on
-- a snapshot. An empty book is a row without a level.
SELECT m.ticker, f.side, f.price, f.size,
       EXISTS (SELECT FROM store.snapshots s WHERE s.market = m.market AND s.exchange_ts < $1 AND s.verified IS NOT FALSE) AS known
  FROM (SELECT market FROM store.lines WHERE ended_at IS NULL OR ended_at > $1
        UNION ALL
        SELECT market FROM store.held h
         WHERE h.ended_at > $1 AND NOT EXISTS (SELECT FROM store.lines l WHERE l.market = h.market)) alive
  JOIN store.markets m USING (market)
  LEFT JOIN LATERAL store.fold(m.market, $1::timestamptz - interval '1 millisecond') f ON true
 WHERE m.ticker <> '' AND $2::timestamptz > $1
 ORDER BY m.ticker COLLATE "C", f.side DESC, f.price

-- name: openings_in_archive
-- Markets whose book at a moment cannot be folded here: changes that lead to it are in the archive only.
SELECT m.ticker
  FROM (SELECT DISTINCT market FROM store.snapshots WHERE source = 'checkpoint' AND verified IS FALSE) unknown
  JOIN store.markets m USING (market),
       LATERAL store.base_at(unknown.market, $1::timestamptz - interval '1 millisecond') b
 WHERE NOT b.here

-- name: export_orderbook_snapshots
-- Books by their place; those from REST, which have none, by when they were given. A reset that was seen in the hour, but
-- whose place is before it (the market had been quiet), comes as the book that it leaves at the hour's beginning: so that
-- the hour can be replayed alone.
SELECT ticker, exchange_ts, after_ordinal, taken_at, source, yes::text AS yes, no::text AS no, verified, is_reset
  FROM orderbook_snapshots WHERE exchange_ts >= $1 AND exchange_ts < $2
UNION ALL
SELECT m.ticker, $1::timestamptz - interval '1 millisecond', 2147483647, r.taken_at, 'checkpoint',
       store.levels(b.yes)::text, store.levels(b.no)::text, r.verified, true
  FROM store.snapshots r JOIN store.markets m USING (market),
       LATERAL (SELECT coalesce(array_agg(v ORDER BY price DESC, n) FILTER (WHERE side = 0), '{}') AS yes,
                       coalesce(array_agg(v ORDER BY price DESC, n) FILTER (WHERE side = 1), '{}') AS no
                  FROM store.fold_from(r.market, r.exchange_ts, r.after_ordinal, r.yes, r.no, $1) f,
                       LATERAL (VALUES (1, f.price::bigint), (2, f.size)) level (n, v)) b
 WHERE r.is_reset AND r.verified IS NOT FALSE AND r.taken_at >= $1 AND r.taken_at < $2 AND r.exchange_ts < $1
UNION ALL
SELECT ticker, exchange_ts, after_ordinal, taken_at, source, yes::text, no::text, verified, is_reset
  FROM store.rest_snapshots WHERE taken_at >= $1 AND taken_at < $2
 ORDER BY ticker, exchange_ts, after_ordinal, is_reset, taken_at, source, yes, no, verified

-- name: export_trades
-- Trades of an hour in the exchange's order. $3, $4: trades and their ordinals that production does not have yet.
SELECT t.trade_id::text, t.ticker, t.exchange_ts, CASE WHEN p.trade_id IS NULL THEN t.ordinal ELSE p.ordinal END AS ordinal,
       t.yes_price, t.count, t.taker_side, t.is_block, t.received_at, t.source
  FROM trades t LEFT JOIN unnest($3::uuid[], $4::int[]) p (trade_id, ordinal) ON p.trade_id = t.trade_id
 WHERE t.exchange_ts >= $1 AND t.exchange_ts < $2
 ORDER BY t.ticker COLLATE "C", t.exchange_ts, 4 NULLS LAST, t.trade_id

-- name: export_tickers
-- Ticks of an hour.
SELECT ticker, exchange_ts, price, yes_bid, yes_ask, yes_bid_size, yes_ask_size, volume, open_interest, received_at
  FROM tickers WHERE exchange_ts >= $1 AND exchange_ts < $2
 ORDER BY ticker, exchange_ts, received_at, price, yes_bid, yes_ask, yes_bid_size, yes_ask_size, volume, open_interest

-- name: export_lifecycle_events
-- Lifecycle messages that were received in an hour.
SELECT ticker, event_type, exchange_ts, payload::text AS payload, received_at
  FROM lifecycle_events WHERE received_at >= $1 AND received_at < $2
 ORDER BY ticker, received_at, exchange_ts, event_type, lifecycle_events.payload::text

-- name: export_unplaced_deltas
-- Rows of an hour that have no place.
SELECT gatherer_id, session, sid, seq, ticker, exchange_ts, exchange_us, side, price, delta, received_at, reason
  FROM unplaced_deltas WHERE exchange_ts >= $1 AND exchange_ts < $2
 ORDER BY ticker, exchange_ts, gatherer_id, session, sid, seq, side, price, delta, received_at, reason

-- name: export_coverage_gaps
-- Gaps that reach into an hour, healed ones too.
SELECT ticker, channel, started_at, ended_at, reason, book_equal, healed_at
  FROM coverage_gaps WHERE started_at < $2 AND ended_at > $1
 ORDER BY ticker, channel, started_at, ended_at, healed_at, reason

-- name: export_markets
-- All markets as REST lists them, by ticker.
SELECT ticker, event_ticker, market_type, title, status, result, open_time, close_time, settlement_ts, updated_at, raw::text AS raw
  FROM markets ORDER BY ticker

-- name: export_events
-- All events as REST lists them, by ticker.
SELECT ticker, series_ticker, title, sub_title, strike_date, strike_period, updated_at, raw::text AS raw FROM events ORDER BY ticker

-- name: export_series
-- All series as REST lists them, by ticker.
SELECT ticker, title, category, updated_at, raw::text AS raw FROM series ORDER BY ticker

-- name: check_books
-- Books of an hour whose places are known, by all gatherers. A reset that was seen in the hour, after a quiet stretch that
-- began before it, is a book of its beginning.
SELECT m.market, m.ticker, s.exchange_ts, s.after_ordinal, s.taken_at, s.is_reset, coalesce(s.yes, '{}') AS yes, coalesce(s.no, '{}') AS no
  FROM store.snapshots s JOIN store.markets m USING (market)
 WHERE s.exchange_ts >= $1 AND s.exchange_ts < $2 AND s.verified IS NOT FALSE
UNION ALL
SELECT m.market, m.ticker, $1::timestamptz - interval '1 millisecond', 2147483647, s.taken_at, true, coalesce(s.yes, '{}'), coalesce(s.no, '{}')
  FROM store.snapshots s JOIN store.markets m USING (market)
 WHERE s.is_reset AND s.verified IS NOT FALSE AND s.taken_at >= $1 AND s.taken_at < $2 AND s.exchange_ts < $1
   AND NOT store.changed_between(s.market, s.exchange_ts, s.after_ordinal, $1::timestamptz - interval '1 millisecond', 2147483647)
 ORDER BY market, exchange_ts, after_ordinal, taken_at

-- name: check_gaps
-- What was not recorded of the order books in a stretch of time.
SELECT market, started_at, ended_at FROM store.gaps
 WHERE channel = 'orderbook_delta' AND healed_at IS NULL AND started_at < $2 AND ended_at > $1 AND market = ANY ($3::bigint[])
UNION ALL
SELECT market, started_at, ended_at FROM store.beginnings
 WHERE started_at < $2 AND ended_at > $1 AND market = ANY ($3::bigint[])

-- name: check_resets
-- Where resets have their places, and when they were seen.
SELECT market, exchange_ts AS at FROM store.snapshots
 WHERE is_reset AND verified IS NOT FALSE AND exchange_ts > $1 AND exchange_ts < $2 AND market = ANY ($3::bigint[])
UNION
SELECT market, taken_at FROM store.snapshots
 WHERE is_reset AND verified IS NOT FALSE AND taken_at > $1 AND taken_at < $2 AND market = ANY ($3::bigint[])

-- name: check_trades
-- By millisecond, how many trades there are and how many of them have their twins. Every trade takes a resting order away:
-- the same millisecond, the maker's side and price, minus the count. Its ordinal is that of this change, and no other
-- trade's. Block trades are made off the book. Only where the book is covered.
WITH sold AS (
    SELECT t.market, t.exchange_ts, t.ordinal, 1 - t.taker_side AS side,
           CASE WHEN t.taker_side = 1 THEN t.yes_price ELSE 10000 - t.yes_price END AS price, t.count,
           row_number() OVER (PARTITION BY t.market, t.exchange_ts, t.ordinal) AS nth
      FROM store.trades t
     WHERE t.exchange_ts >= $1 AND t.exchange_ts < $2 AND NOT t.is_block
       AND EXISTS (SELECT FROM store.claims c WHERE c.market = t.market AND c.channel = 'orderbook_delta'
                      AND c.from_ts <= t.exchange_ts AND t.exchange_ts < c.to_ts)
       AND NOT EXISTS (SELECT FROM store.detached g WHERE g.day = (t.exchange_ts AT TIME ZONE 'UTC')::date)
)
SELECT m.ticker, s.exchange_ts, count(*) AS trades, count(d.ordinal) FILTER (WHERE s.nth = 1) AS changes
  FROM sold s JOIN store.markets m USING (market)
  LEFT JOIN store.deltas d ON d.market = s.market AND d.exchange_ts = s.exchange_ts AND d.ordinal = s.ordinal
       AND d.side = s.side AND d.price = s.price AND d.delta = -s.count
 GROUP BY m.ticker, s.market, s.exchange_ts

-- name: trades_to_place
-- Of an hour whose changes are in the archive: the trades of the milliseconds in which one has no ordinal, or a change came
-- late.
WITH place AS (
    SELECT market, exchange_ts FROM store.trades
     WHERE exchange_ts >= $1 AND exchange_ts < $2 AND ordinal IS NULL AND NOT is_block
    UNION
    SELECT market, exchange_ts FROM store.late_deltas WHERE exchange_ts >= $1 AND exchange_ts < $2
)
SELECT t.trade_id::text, m.ticker, t.exchange_ts, t.ordinal, (1 - t.taker_side)::smallint AS side,
       CASE t.taker_side WHEN 1 THEN t.yes_price ELSE 10000 - t.yes_price END AS price, t.count
  FROM place JOIN store.trades t USING (market, exchange_ts) JOIN store.markets m USING (market)
 WHERE NOT t.is_block

-- name: trades_placed
-- Give trades whose changes have left production the ordinals that an export found.
UPDATE store.trades t SET ordinal = p.ordinal
  FROM unnest($1::uuid[], $2::timestamptz[], $3::int[]) p (trade_id, exchange_ts, ordinal)
 WHERE t.trade_id = p.trade_id AND t.exchange_ts = p.exchange_ts
RETURNING t.trade_id, t.market, t.exchange_ts, t.ordinal

-- name: exported_rows
-- How many changes the archive's object of an hour has; null: it was never exported.
SELECT coalesce(delta_rows, 0) FROM store.exports WHERE hour = $1

-- name: note_checks
-- Store how the checks of an hour ended.
INSERT INTO store.checks (hour, check_name, compared, failed, examples, checked_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (hour, check_name) DO UPDATE SET compared = excluded.compared, failed = excluded.failed,
                                             examples = excluded.examples, checked_at = excluded.checked_at

-- name: note_export
-- Store that an hour is exported, at which step, and what of it was not sealed.
INSERT INTO store.exports (hour, exported_at, complete, unsealed, delta_rows, step) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (hour) DO UPDATE
   SET exported_at = excluded.exported_at, complete = excluded.complete, unsealed = excluded.unsealed,
       delta_rows = excluded.delta_rows, step = excluded.step

-- name: late_deltas_exported
-- Remove late changes that are in the archive now. Just the rows that were read for the export: others may have come since,
-- with whatever times.
WITH gone AS (
    DELETE FROM store.late_deltas l
     USING unnest($2::bigint[], $3::timestamptz[], $4::int[]) x (market, exchange_ts, ordinal)
     WHERE (l.market, l.exchange_ts, l.ordinal) = (x.market, x.exchange_ts, x.ordinal)
    RETURNING 1
)
UPDATE store.detached SET late_rows = late_rows + (SELECT count(*) FROM gone)
 WHERE day = ($1::timestamptz AT TIME ZONE 'UTC')::date AND EXISTS (TABLE gone)
