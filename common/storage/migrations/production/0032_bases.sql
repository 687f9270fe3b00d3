-- What has left for the archive gives no book here, rather than a wrong one (ADR 24). A day that leaves leaves a checkpoint
-- at the last change of each market: it is the next day's base, and says up to where there were changes.

CREATE INDEX snapshots_unknown ON store.snapshots (market) WHERE source = 'checkpoint' AND verified IS FALSE;
COMMENT ON COLUMN store.snapshots.verified IS 'true: equal to the folded changes; null: nothing to compare with; false: not to be used. A checkpoint with false marks a last change of a day that has left, after which the book is not known.';

-- A reset applies from when it was seen, or from the first change after its place. A book is not used that a reset of the
-- same stretch has replaced (it was taken before it), nor, before the reset applies, one that was taken after it.
-- `here` is false where changes between the base and the moment are in the archive only: a book with an ordinal stands at
-- a change, and of each day that has left the last one has such a book.
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

-- Each: from a place on (a millisecond and an ordinal) checkpoints of a market lack something, up to the next book of the
-- exchange at or after `until_ts` that was taken after `seen`. One of a day that has left is the only base of what follows:
-- it cannot be folded again, so it stays, and is marked as not known.
CREATE FUNCTION store.drop_checkpoints(of_markets bigint[], from_ts timestamptz[], from_ordinal int[], until_ts timestamptz[], seen timestamptz[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    stale record;
BEGIN
    FOR stale IN
        SELECT c.market, c.exchange_ts, c.after_ordinal,
               EXISTS (SELECT FROM store.detached d WHERE d.day = (c.exchange_ts AT TIME ZONE 'UTC')::date) AS has_left
          FROM store.snapshots c, unnest(of_markets, from_ts, from_ordinal, until_ts, seen) x (market, ts, ordinal, until, seen)
         WHERE c.market = x.market AND c.source = 'checkpoint' AND c.exchange_ts >= x.ts
           AND (c.exchange_ts > x.ts OR c.after_ordinal >= x.ordinal)
           AND NOT EXISTS (SELECT FROM store.snapshots s
                            WHERE s.market = x.market AND s.source <> 'checkpoint' AND s.verified IS NOT FALSE
                              AND s.exchange_ts >= x.until AND s.taken_at > x.seen
                              AND (s.exchange_ts, s.after_ordinal) <= (c.exchange_ts, c.after_ordinal)
                              AND (NOT s.is_reset OR (s.exchange_ts, s.after_ordinal) < (c.exchange_ts, c.after_ordinal)))
    LOOP
        IF stale.has_left THEN
            UPDATE store.snapshots s SET verified = false
             WHERE s.market = stale.market AND s.exchange_ts = stale.exchange_ts AND s.after_ordinal = stale.after_ordinal
               AND s.source = 'checkpoint';
        ELSE
            DELETE FROM store.snapshots s
             WHERE s.market = stale.market AND s.exchange_ts = stale.exchange_ts AND s.after_ordinal = stale.after_ordinal
               AND s.source = 'checkpoint';
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION store.drop_checkpoints IS 'Removes checkpoints that lack something; those of days that have left are marked as not known.';

-- A reset changes books from when it was seen, or from the first change after its place: not from its place on, which may
-- be weeks before, with no change since.
CREATE FUNCTION store.reset_from(of_market bigint, place timestamptz, ordinal int, seen timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT least(seen,
        (SELECT d.exchange_ts FROM store.deltas d
          WHERE d.market = of_market AND d.exchange_ts >= place AND (d.exchange_ts > place OR d.ordinal > reset_from.ordinal)
          ORDER BY d.exchange_ts LIMIT 1),
        (SELECT s.exchange_ts FROM store.snapshots s
          WHERE s.market = of_market AND s.exchange_ts >= place AND s.after_ordinal >= 0
            AND (s.exchange_ts > place OR s.after_ordinal > reset_from.ordinal)
          ORDER BY s.exchange_ts LIMIT 1))
$$;
COMMENT ON FUNCTION store.reset_from IS 'From when on a reset changes the book.';

CREATE OR REPLACE FUNCTION store.touch_by_snapshots() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM store.touch(ARRAY(
        WITH books AS MATERIALIZED (
            SELECT *, CASE WHEN is_reset THEN store.reset_from(market, exchange_ts, after_ordinal, taken_at) ELSE exchange_ts END AS from_ts
              FROM touched_rows WHERE source <> 'checkpoint'
        )
        SELECT store.hour_of(exchange_ts) FROM books
        UNION
        SELECT store.hour_of(taken_at) FROM books WHERE is_reset
        UNION
        SELECT store.openings_after(market, from_ts) FROM books WHERE from_ts < clock_timestamp() - interval '50 minutes'
        UNION
        SELECT store.hours_within(g.started_at, g.ended_at)
          FROM books b JOIN store.gaps g
            ON g.market = b.market AND g.channel = 'orderbook_delta' AND g.ended_at <= b.exchange_ts
         WHERE b.after_ordinal = -1 AND NOT b.is_reset
           AND NOT EXISTS (SELECT FROM store.snapshots s
                            WHERE s.market = b.market AND s.after_ordinal = -1 AND NOT s.is_reset
                              AND s.exchange_ts >= g.ended_at AND s.exchange_ts < b.exchange_ts)));
    RETURN NULL;
END $$;

-- Whatever inserts changes looks for checkpoints after them: nearly all are younger than every checkpoint.
CREATE INDEX snapshots_checkpoints ON store.snapshots (exchange_ts) WHERE source = 'checkpoint';
