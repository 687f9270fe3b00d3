-- What has left for the archive gives no book here, rather than a wrong one (ADR 50). A day that leaves leaves a checkpoint
-- at the last change of each market: it is the next day's base, and says up to where there were changes.

CREATE INDEX snapshots_unknown ON store.snapshots (market) WHERE source = 'checkpoint' AND verified IS FALSE;
COMMENT ON COLUMN store.snapshots.verified IS 'true: equal to the folded changes; null: nothing to compare with; false: not to be used. A checkpoint with false marks a last change of a day that has left, after which the book is not known.';

-- `here` is false where changes between the base and the moment are in the archive only: a book with an ordinal stands at
-- a change, and of each day that has left the last one has such a book.
DROP FUNCTION store.base_at;
CREATE FUNCTION store.base_at(of_market bigint, at timestamptz, without_snapshots_after timestamptz DEFAULT 'infinity')
RETURNS TABLE (exchange_ts timestamptz, after_ordinal int, yes bigint[], no bigint[], here boolean) LANGUAGE sql STABLE AS $$
    SELECT p.ts, p.ordinal, p.yes, p.no,
           NOT EXISTS (SELECT FROM store.snapshots w
                        WHERE w.market = of_market AND w.exchange_ts >= p.ts AND w.after_ordinal >= 0
                          AND (w.exchange_ts > p.ts OR w.after_ordinal > p.ordinal)
                          AND w.exchange_ts < date_bin('1 day', at, timestamptz '1970-01-01 00:00:00+00') + interval '1 day'
                          AND w.exchange_ts < (SELECT (max(d.day) + 1)::timestamp AT TIME ZONE 'UTC' FROM store.detached d)
                          AND (w.exchange_ts AT TIME ZONE 'UTC')::date IN (SELECT d.day FROM store.detached d))
      FROM (SELECT coalesce(b.exchange_ts, '-infinity') AS ts, coalesce(b.after_ordinal, -1) AS ordinal, b.yes, b.no
              FROM (VALUES (1)) one (n) LEFT JOIN LATERAL (
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
                 LIMIT 1) b ON true) p
$$;
COMMENT ON FUNCTION store.base_at IS 'The book that the book at a moment is folded from (-infinity: none is known), and whether all changes after it are here.';

CREATE OR REPLACE FUNCTION store.fold(of_market bigint, at timestamptz, without_snapshots_after timestamptz DEFAULT 'infinity')
RETURNS TABLE (side smallint, price int, size bigint) LANGUAGE sql STABLE AS $$
    WITH base AS MATERIALIZED (
        SELECT b.* FROM store.base_at(of_market, at, without_snapshots_after) b
    ), parts AS (
        SELECT 0::smallint AS side, b.yes[n]::int AS price, b.yes[n + 1] AS size
          FROM base b, generate_series(1, coalesce(array_length(b.yes, 1), 0), 2) n WHERE b.here
        UNION ALL
        SELECT 1::smallint, b.no[n]::int, b.no[n + 1]
          FROM base b, generate_series(1, coalesce(array_length(b.no, 1), 0), 2) n WHERE b.here
        UNION ALL
        SELECT d.side, d.price, d.delta
          FROM store.deltas d
         WHERE d.market = of_market AND (SELECT here FROM base)
           AND d.exchange_ts >= (SELECT exchange_ts FROM base) AND d.exchange_ts <= at
           AND (d.exchange_ts > (SELECT exchange_ts FROM base) OR d.ordinal > (SELECT after_ordinal FROM base))
    )
    SELECT parts.side, parts.price, sum(parts.size)::bigint FROM parts
     GROUP BY parts.side, parts.price HAVING sum(parts.size) <> 0
$$;
COMMENT ON FUNCTION store.fold IS 'The book at a moment; none where changes that lead to it are in the archive only (store.base_at).';

CREATE OR REPLACE FUNCTION book_at(ticker text, at timestamptz) RETURNS TABLE (side text, price numeric, size numeric)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF EXISTS (SELECT FROM store.markets m, store.base_at(m.market, book_at.at) b WHERE m.ticker = book_at.ticker AND NOT b.here) THEN
        RAISE EXCEPTION 'the changes that lead to the book of % at % have left production', book_at.ticker, book_at.at
              USING HINT = 'They are in the archive: its query "book".';
    END IF;
    RETURN QUERY
    SELECT CASE f.side WHEN 0 THEN 'yes' ELSE 'no' END, f.price * 0.0001, f.size * 0.01
      FROM store.markets m, store.fold(m.market, book_at.at) f
     WHERE m.ticker = book_at.ticker
     ORDER BY f.side, f.price DESC;
END $$;
COMMENT ON FUNCTION book_at IS 'The book of a market after all changes up to a time, best level first. Promised up to coverage.sealed_until, outside gaps; beyond it the best known. An error where the changes are in the archive only.';

-- Null, too, where the changes between are in the archive only.
CREATE OR REPLACE FUNCTION store.book_equal(of_market bigint, started timestamptz, ended timestamptz) RETURNS boolean
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
    SELECT CASE WHEN EXISTS (SELECT FROM after a, store.base_at(of_market, a.exchange_ts - interval '1 microsecond', started) b
                              WHERE b.here) THEN
        NOT EXISTS ((TABLE known EXCEPT TABLE folded) UNION ALL (TABLE folded EXCEPT TABLE known)) END
$$;

-- The folded book at a change, as a row of snapshots; whether it is one to fold from.
CREATE FUNCTION store.checkpoint_at(of_market bigint, place timestamptz, ordinal int) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    known boolean := (SELECT b.here FROM store.base_at(of_market, place) b);
BEGIN
    INSERT INTO store.snapshots (market, exchange_ts, after_ordinal, is_reset, taken_at, source, yes, no, verified)
    SELECT of_market, place, ordinal, false, place, 'checkpoint',
           array_agg(v ORDER BY price DESC, n) FILTER (WHERE side = 0),
           array_agg(v ORDER BY price DESC, n) FILTER (WHERE side = 1), CASE WHEN NOT known THEN false END
      FROM store.fold(of_market, place) f
     CROSS JOIN LATERAL (VALUES (1, f.price::bigint), (2, f.size)) level (n, v)
    ON CONFLICT DO NOTHING;
    RETURN known;
END $$;
COMMENT ON FUNCTION store.checkpoint_at IS 'Writes the folded book at a change; marked as not known where changes before it are in the archive only.';

CREATE OR REPLACE FUNCTION store.checkpoint(of_market bigint, before timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    place record;
BEGIN
    SELECT d.exchange_ts, d.ordinal INTO place FROM store.deltas d
     WHERE d.market = of_market AND d.exchange_ts < before
     ORDER BY d.exchange_ts DESC, d.ordinal DESC LIMIT 1;
    IF NOT FOUND OR EXISTS (SELECT FROM store.snapshots s WHERE s.market = of_market AND NOT s.is_reset
                               AND s.verified IS NOT FALSE
                               AND (s.exchange_ts, s.after_ordinal) >= (place.exchange_ts, place.ordinal))
       OR NOT (SELECT b.here FROM store.base_at(of_market, place.exchange_ts) b) THEN
        RETURN false;
    END IF;
    RETURN store.checkpoint_at(of_market, place.exchange_ts, place.ordinal);
END $$;
REVOKE EXECUTE ON FUNCTION store.checkpoint_at FROM PUBLIC;
GRANT EXECUTE ON FUNCTION store.checkpoint_at TO kalshi_writer;
