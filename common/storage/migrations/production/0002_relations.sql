-- The relations that people query. They only rename, join the ticker and scale: a condition on ticker or time reaches
-- the index and prunes partitions. Prices are dollars, sizes contracts, both exact.

CREATE VIEW orderbook_deltas AS
SELECT m.ticker, d.exchange_ts, d.ordinal,
       CASE d.side WHEN 0 THEN 'yes' ELSE 'no' END AS side,
       d.price * 0.0001 AS price, d.delta * 0.01 AS delta,
       nullif(d.exchange_us, -1) AS exchange_us, d.received_at
  FROM store.deltas d JOIN store.markets m USING (market);
COMMENT ON VIEW orderbook_deltas IS 'Every order-book change, once, in the exchange''s order: by ticker, exchange_ts, ordinal.';
COMMENT ON COLUMN orderbook_deltas.exchange_ts IS 'Whole milliseconds of the exchange''s clock.';
COMMENT ON COLUMN orderbook_deltas.ordinal IS 'Position among all changes of the market in that millisecond, from 0.';
COMMENT ON COLUMN orderbook_deltas.side IS 'yes or no; prices of side no are NO prices.';
COMMENT ON COLUMN orderbook_deltas.delta IS 'Signed size added to the level, in contracts.';
COMMENT ON COLUMN orderbook_deltas.exchange_us IS 'Microseconds within the millisecond, 0 to 999; null where the exchange does not say.';
COMMENT ON COLUMN orderbook_deltas.received_at IS 'When the first stored copy was received, by that gatherer''s clock.';

CREATE FUNCTION store.levels(flat bigint[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_array(flat[n] * 0.0001, flat[n + 1] * 0.01) ORDER BY n), '[]'::jsonb)
      FROM generate_series(1, coalesce(array_length(flat, 1), 0), 2) n
$$;

CREATE VIEW orderbook_snapshots AS
SELECT m.ticker, s.exchange_ts, s.after_ordinal, s.taken_at, s.source,
       store.levels(s.yes) AS yes, store.levels(s.no) AS no, s.verified, s.is_reset
  FROM store.snapshots s JOIN store.markets m USING (market);
COMMENT ON VIEW orderbook_snapshots IS 'Books at known places: after all changes up to (exchange_ts, after_ordinal).';
COMMENT ON COLUMN orderbook_snapshots.after_ordinal IS '-1: before every change of that millisecond.';
COMMENT ON COLUMN orderbook_snapshots.verified IS 'true: equal to the folded changes; false: not; null: there was nothing to compare with.';
COMMENT ON COLUMN orderbook_snapshots.is_reset IS 'The exchange replaced the book without changes (a close, a settlement); applies from taken_at on.';

CREATE VIEW trades AS
SELECT t.trade_id, m.ticker, t.exchange_ts, t.yes_price * 0.0001 AS yes_price, t.count * 0.01 AS count,
       CASE t.taker_side WHEN 0 THEN 'yes' ELSE 'no' END AS taker_side, t.is_block, t.received_at, t.source
  FROM store.trades t JOIN store.markets m USING (market);
COMMENT ON VIEW trades IS 'Every trade, once, by trade_id.';

CREATE VIEW tickers AS
SELECT m.ticker, t.exchange_ts, t.price * 0.0001 AS price, t.yes_bid * 0.0001 AS yes_bid, t.yes_ask * 0.0001 AS yes_ask,
       t.yes_bid_size * 0.01 AS yes_bid_size, t.yes_ask_size * 0.01 AS yes_ask_size,
       t.volume * 0.01 AS volume, t.open_interest * 0.01 AS open_interest, t.received_at
  FROM store.tickers t JOIN store.markets m USING (market);
COMMENT ON VIEW tickers IS 'Ticker messages as a union of all copies. The channel is not numbered: losses cannot be detected.';

CREATE VIEW lifecycle_events AS
SELECT m.ticker, l.event_type, l.exchange_ts, l.payload, l.received_at
  FROM store.lifecycle l JOIN store.markets m USING (market);
COMMENT ON VIEW lifecycle_events IS 'Lifecycle messages; equal content within 30 s is one event.';

CREATE VIEW unplaced_deltas AS
SELECT g.gatherer_id, u.session, u.sid, u.seq, m.ticker, u.exchange_ts, nullif(u.exchange_us, -1) AS exchange_us,
       CASE u.side WHEN 0 THEN 'yes' ELSE 'no' END AS side, u.price * 0.0001 AS price, u.delta * 0.01 AS delta,
       u.received_at,
       'recording began in the middle of its millisecond, and no copy that covers it has confirmed it' AS reason
  FROM store.unplaced u JOIN store.markets m USING (market) JOIN store.gatherers g USING (gatherer);
COMMENT ON VIEW unplaced_deltas IS 'Changes whose ordinal is unknown. They may repeat stored rows or each other; never guessed into place.';

CREATE VIEW merge_conflicts AS
SELECT c.conflict, c.kind, m.ticker, c.exchange_ts, c.versions, c.seen_at
  FROM store.conflicts c JOIN store.markets m USING (market);
COMMENT ON VIEW merge_conflicts IS 'Copies that contradict each other, with all versions.';

CREATE VIEW quarantine AS
SELECT g.gatherer_id, q.session, q.sid, q.seq, q.reason, q.received_at, q.frame
  FROM store.quarantine q JOIN store.gatherers g USING (gatherer);
COMMENT ON VIEW quarantine IS 'Frames that could not become rows, as received.';

-- A book at a place: the newest usable snapshot at or before it, and the changes after that.
CREATE FUNCTION store.fold(of_market bigint, at timestamptz, without_snapshots_after timestamptz DEFAULT 'infinity')
RETURNS TABLE (side smallint, price int, size bigint) LANGUAGE sql STABLE AS $$
    WITH base AS (
        SELECT s.exchange_ts, s.after_ordinal, s.yes, s.no
          FROM store.snapshots s
         WHERE s.market = of_market AND s.exchange_ts <= least(at, without_snapshots_after)
           AND s.verified IS NOT FALSE AND (NOT s.is_reset OR s.taken_at <= at)
         ORDER BY s.exchange_ts DESC, s.after_ordinal DESC, s.is_reset DESC
         LIMIT 1
    ), place AS (
        SELECT coalesce((SELECT exchange_ts FROM base), '-infinity') AS ts,
               coalesce((SELECT after_ordinal FROM base), -1) AS ordinal
    ), parts AS (
        SELECT 0::smallint AS side, b.yes[n]::int AS price, b.yes[n + 1] AS size
          FROM base b, generate_series(1, coalesce(array_length(b.yes, 1), 0), 2) n
        UNION ALL
        SELECT 1::smallint, b.no[n]::int, b.no[n + 1]
          FROM base b, generate_series(1, coalesce(array_length(b.no, 1), 0), 2) n
        UNION ALL
        SELECT d.side, d.price, d.delta
          FROM store.deltas d
         WHERE d.market = of_market
           AND d.exchange_ts >= (SELECT ts FROM place) AND d.exchange_ts <= at
           AND (d.exchange_ts > (SELECT ts FROM place) OR d.ordinal > (SELECT ordinal FROM place))
    )
    SELECT parts.side, parts.price, sum(parts.size)::bigint FROM parts
     GROUP BY parts.side, parts.price HAVING sum(parts.size) <> 0
$$;

CREATE FUNCTION book_at(ticker text, at timestamptz) RETURNS TABLE (side text, price numeric, size numeric)
LANGUAGE sql STABLE AS $$
    SELECT CASE f.side WHEN 0 THEN 'yes' ELSE 'no' END, f.price * 0.0001, f.size * 0.01
      FROM store.markets m, store.fold(m.market, book_at.at) f
     WHERE m.ticker = book_at.ticker
     ORDER BY f.side, f.price DESC
$$;
COMMENT ON FUNCTION book_at IS 'The book of a market after all changes up to a time, best level first. Promised up to coverage.sealed_until, outside gaps; beyond it the best known.';

-- Whether a gap left the book as it was: the changes recorded before and after it, without any snapshot from after its
-- beginning, give the first book known after its end. Null: no such book. Equal books never close a gap.
CREATE FUNCTION store.book_equal(of_market bigint, started timestamptz, ended timestamptz) RETURNS boolean
LANGUAGE sql STABLE AS $$
    WITH after AS (
        SELECT s.exchange_ts, s.after_ordinal, s.yes, s.no FROM store.snapshots s
         WHERE s.market = of_market AND s.exchange_ts >= ended AND s.after_ordinal = -1 AND NOT s.is_reset
         ORDER BY s.exchange_ts LIMIT 1
    ), known AS (
        SELECT 0::smallint AS side, a.yes[n]::int AS price, a.yes[n + 1] AS size
          FROM after a, generate_series(1, coalesce(array_length(a.yes, 1), 0), 2) n
        UNION ALL
        SELECT 1::smallint, a.no[n]::int, a.no[n + 1]
          FROM after a, generate_series(1, coalesce(array_length(a.no, 1), 0), 2) n
    ), folded AS (
        SELECT f.* FROM after a, store.fold(of_market, a.exchange_ts - interval '1 microsecond', started) f
    )
    SELECT CASE WHEN EXISTS (SELECT FROM after) THEN
        NOT EXISTS ((TABLE known EXCEPT TABLE folded) UNION ALL (TABLE folded EXCEPT TABLE known)) END
$$;
