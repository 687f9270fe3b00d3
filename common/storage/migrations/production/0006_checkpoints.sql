-- Checkpoint books, so that book_at is fast; and days whose changes have left for the archive.

ALTER TABLE store.snapshots DROP CONSTRAINT snapshots_market_exchange_ts_after_ordinal_is_reset_key;
CREATE UNIQUE INDEX snapshots_place ON store.snapshots (market, exchange_ts, after_ordinal, is_reset, (source = 'checkpoint'));

CREATE TABLE store.detached (
    day         date PRIMARY KEY,
    detached_at timestamptz NOT NULL DEFAULT now(),
    rows        bigint NOT NULL,
    late_rows   bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE store.detached IS 'Days whose partition of deltas was dropped: the archive has them. Rows that come later wait in late_deltas.';

COMMENT ON COLUMN store.detached.rows IS 'Changes that left with the partition.';
COMMENT ON COLUMN store.detached.late_rows IS 'Changes that came later and left by an export; those that the archive had are counted too.';

CREATE TABLE store.late_deltas (
    market      bigint NOT NULL,
    exchange_ts timestamptz NOT NULL,
    ordinal     int NOT NULL,
    exchange_us smallint NOT NULL,
    side        smallint NOT NULL,
    price       int NOT NULL,
    delta       bigint NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (market, exchange_ts, ordinal)
);
CREATE INDEX ON store.late_deltas (exchange_ts);
COMMENT ON TABLE store.late_deltas IS 'Changes of days that are no longer here, until the next export unites them with the archive''s hour.';

-- As before, but a reset applies as soon as a change that followed it does, whatever the clock said when it was seen.
CREATE OR REPLACE FUNCTION store.fold(of_market bigint, at timestamptz, without_snapshots_after timestamptz DEFAULT 'infinity')
RETURNS TABLE (side smallint, price int, size bigint) LANGUAGE sql STABLE AS $$
    WITH base AS (
        SELECT s.exchange_ts, s.after_ordinal, s.yes, s.no
          FROM store.snapshots s
         WHERE s.market = of_market AND s.exchange_ts <= least(at, without_snapshots_after)
           AND s.verified IS NOT FALSE
           AND (NOT s.is_reset OR s.taken_at <= at
                OR EXISTS (SELECT FROM store.deltas d
                            WHERE d.market = of_market AND d.exchange_ts >= s.exchange_ts AND d.exchange_ts <= at
                              AND (d.exchange_ts > s.exchange_ts OR d.ordinal > s.after_ordinal)))
         ORDER BY s.exchange_ts DESC, s.after_ordinal DESC, s.is_reset DESC, s.source = 'checkpoint'
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

-- The folded book after the last change before a time, as a row of snapshots; whether one was written.
CREATE FUNCTION store.checkpoint(of_market bigint, before timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    place record;
BEGIN
    SELECT d.exchange_ts, d.ordinal INTO place FROM store.deltas d
     WHERE d.market = of_market AND d.exchange_ts < before
     ORDER BY d.exchange_ts DESC, d.ordinal DESC LIMIT 1;
    IF NOT FOUND OR EXISTS (SELECT FROM store.snapshots s WHERE s.market = of_market AND NOT s.is_reset
                               AND s.verified IS NOT FALSE
                               AND (s.exchange_ts, s.after_ordinal) >= (place.exchange_ts, place.ordinal)) THEN
        RETURN false;
    END IF;
    INSERT INTO store.snapshots (market, exchange_ts, after_ordinal, is_reset, taken_at, source, yes, no, verified)
    SELECT of_market, place.exchange_ts, place.ordinal, false, now(), 'checkpoint',
           array_agg(v ORDER BY price DESC, n) FILTER (WHERE side = 0),
           array_agg(v ORDER BY price DESC, n) FILTER (WHERE side = 1), NULL
      FROM store.fold(of_market, place.exchange_ts) f
     CROSS JOIN LATERAL (VALUES (1, f.price::bigint), (2, f.size)) level (n, v);
    RETURN true;
END $$;
COMMENT ON FUNCTION store.checkpoint IS 'Writes the folded book after the last change before a time, unless a usable snapshot is there already.';

COMMENT ON COLUMN orderbook_snapshots.source IS 'ws: the exchange sent it. checkpoint: folded from changes here, so that book_at need not fold a market''s whole history.';
