-- One meaning of "the book at a moment" (ADR 24). Books that no change lies between show one quiet stretch of a market, in
-- which only a reset replaces the book: there the moment at which a book was taken decides, not its place. Each run of a
-- quiet market places its own first book where its own claim begins, so a reset, whose place is the last change before it,
-- may lie before books that were taken hours earlier.

CREATE INDEX snapshots_resets_of ON store.snapshots (market, exchange_ts, after_ordinal) WHERE is_reset;

-- A book with an ordinal stands at a change, also where the change itself has left for the archive.
CREATE FUNCTION store.changed_between(of_market bigint, a_ts timestamptz, a_ordinal int, b_ts timestamptz, b_ordinal int)
RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM store.deltas d
                    WHERE d.market = of_market AND d.exchange_ts >= least(a_ts, b_ts) AND d.exchange_ts <= greatest(a_ts, b_ts)
                      AND ((d.exchange_ts, d.ordinal) > (a_ts, a_ordinal)) <> ((d.exchange_ts, d.ordinal) > (b_ts, b_ordinal)))
        OR EXISTS (SELECT FROM store.snapshots s
                    WHERE s.market = of_market AND s.exchange_ts >= least(a_ts, b_ts) AND s.exchange_ts <= greatest(a_ts, b_ts)
                      AND s.after_ordinal >= 0
                      AND ((s.exchange_ts, s.after_ordinal) > (a_ts, a_ordinal)) <> ((s.exchange_ts, s.after_ordinal) > (b_ts, b_ordinal)))
$$;
COMMENT ON FUNCTION store.changed_between IS 'Whether a change lies between two places: after the first of them, up to the second.';

-- A reset applies from when it was seen, or from the first change after its place. A book is not used that a reset of the
-- same stretch has replaced (it was taken before it), nor, before the reset applies, one that was taken after it.
CREATE FUNCTION store.base_at(of_market bigint, at timestamptz, without_snapshots_after timestamptz DEFAULT 'infinity')
RETURNS TABLE (exchange_ts timestamptz, after_ordinal int, yes bigint[], no bigint[]) LANGUAGE sql STABLE AS $$
    SELECT s.exchange_ts, s.after_ordinal, s.yes, s.no
      FROM store.snapshots s
     WHERE s.market = of_market AND s.exchange_ts <= least(at, without_snapshots_after) AND s.verified IS NOT FALSE
       AND (NOT s.is_reset OR s.taken_at <= at
            OR store.changed_between(of_market, s.exchange_ts, s.after_ordinal, at, 2147483647))
       AND NOT EXISTS (
           SELECT FROM store.snapshots r
            WHERE r.market = of_market AND r.is_reset AND r.verified IS NOT FALSE
              AND r.exchange_ts <= least(at, without_snapshots_after)
              AND CASE WHEN store.changed_between(of_market, r.exchange_ts, r.after_ordinal, s.exchange_ts, s.after_ordinal)
                       THEN false
                       WHEN r.taken_at <= at OR store.changed_between(of_market, r.exchange_ts, r.after_ordinal, at, 2147483647)
                       THEN r.taken_at > s.taken_at OR (r.taken_at = s.taken_at AND NOT s.is_reset)
                       ELSE r.taken_at <= s.taken_at AND NOT s.is_reset END)
     ORDER BY s.exchange_ts DESC, s.after_ordinal DESC, s.is_reset DESC, s.source = 'checkpoint'
     LIMIT 1
$$;
COMMENT ON FUNCTION store.base_at IS 'The book that the book at a moment is folded from: the changes after its place lead to it.';

CREATE OR REPLACE FUNCTION store.fold(of_market bigint, at timestamptz, without_snapshots_after timestamptz DEFAULT 'infinity')
RETURNS TABLE (side smallint, price int, size bigint) LANGUAGE sql STABLE AS $$
    WITH base AS MATERIALIZED (
        SELECT b.* FROM store.base_at(of_market, at, without_snapshots_after) b
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

-- A checkpoint is the book of its own place, whenever it was folded.
CREATE OR REPLACE FUNCTION store.checkpoint(of_market bigint, before timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
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
    SELECT of_market, place.exchange_ts, place.ordinal, false, place.exchange_ts, 'checkpoint',
           array_agg(v ORDER BY price DESC, n) FILTER (WHERE side = 0),
           array_agg(v ORDER BY price DESC, n) FILTER (WHERE side = 1), NULL
      FROM store.fold(of_market, place.exchange_ts) f
     CROSS JOIN LATERAL (VALUES (1, f.price::bigint), (2, f.size)) level (n, v);
    RETURN true;
END $$;
UPDATE store.snapshots SET taken_at = exchange_ts WHERE source = 'checkpoint';
