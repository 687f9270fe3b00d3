-- Books: those that the exchange sent, those folded here, and the book at a moment.

CREATE TABLE store.snapshots (
    market        bigint NOT NULL,
    exchange_ts   timestamptz NOT NULL,
    taken_at      timestamptz NOT NULL,
    after_ordinal int NOT NULL,
    is_reset      boolean NOT NULL,
    verified      boolean,
    source        text NOT NULL CHECK (source IN ('ws', 'rest', 'checkpoint')),
    yes           bigint[] CHECK (yes <> '{}'),
    no            bigint[] CHECK (no <> '{}')
);
CREATE UNIQUE INDEX snapshots_place ON store.snapshots (market, exchange_ts, after_ordinal, is_reset, (source = 'checkpoint'));
CREATE INDEX snapshots_time ON store.snapshots USING brin (exchange_ts timestamptz_minmax_multi_ops) WITH (autosummarize = on);
CREATE INDEX snapshots_resets ON store.snapshots (taken_at) WHERE is_reset;
CREATE INDEX snapshots_resets_of ON store.snapshots (market, exchange_ts, after_ordinal) WHERE is_reset;
CREATE INDEX snapshots_unknown ON store.snapshots (market) WHERE source = 'checkpoint' AND verified IS FALSE;
CREATE INDEX snapshots_checkpoints ON store.snapshots (exchange_ts) WHERE source = 'checkpoint';
COMMENT ON TABLE store.snapshots IS 'Books at places among the changes: those that the exchange sent, resets, and checkpoints that were folded here.';
COMMENT ON COLUMN store.snapshots.verified IS 'true: equal to the folded changes; null: nothing to compare with; false: not to be used. A checkpoint with false marks a last change of a day that has left, after which the book is not known.';
COMMENT ON COLUMN store.snapshots.yes IS 'Price, size, price, size ...: units of 1e-4 dollar and 1e-2 contract, best bid first. Null: no level, as of most books that there are.';

CREATE TABLE store.reset_votes (
    market        bigint NOT NULL,
    gatherer      smallint NOT NULL,
    exchange_ts   timestamptz NOT NULL,
    after_ordinal int NOT NULL,
    taken_at      timestamptz NOT NULL,
    voted_at      timestamptz NOT NULL DEFAULT now(),
    yes           bigint[] NOT NULL,
    no            bigint[] NOT NULL,
    PRIMARY KEY (market, gatherer, exchange_ts, after_ordinal, taken_at)
);
COMMENT ON TABLE store.reset_votes IS 'Snapshots that disagree with an unbroken run, until it is known of all copies whether they saw the same.';

-- Books from REST that were not the folded book, or had none to be compared with; those that agreed are counted.
CREATE TABLE store.rest_books (
    market       bigint NOT NULL,
    gatherer     smallint NOT NULL REFERENCES store.gatherers,
    requested_at timestamptz NOT NULL,
    taken_at     timestamptz NOT NULL,
    agrees       smallint NOT NULL CHECK (agrees IN (0, -1)),
    yes          bigint[] NOT NULL,
    no           bigint[] NOT NULL
);
CREATE INDEX ON store.rest_books (market, taken_at);
CREATE INDEX rest_books_time ON store.rest_books USING brin (taken_at) WITH (autosummarize = on);
COMMENT ON TABLE store.rest_books IS 'Books from REST that did not agree, or could not be compared, with the gatherer that asked. They have no place among the changes.';
COMMENT ON COLUMN store.rest_books.agrees IS '0: the folded book was another at every instant of the request; -1: there was none to be compared with.';
COMMENT ON COLUMN store.rest_books.yes IS 'Price, size, price, size ...: units of 1e-4 dollar and 1e-2 contract, best bid first.';

-- One meaning of "the book at a moment" (ADR 24). Books that no change lies between show one quiet stretch of a market, in
-- which only a reset replaces the book: there the moment at which a book was taken decides, not its place. Each run of a
-- quiet market places its own first book where its own claim begins, so a reset, whose place is the last change before it,
-- may lie before books that were taken hours earlier.
--
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
-- What has left for the archive gives no book here, rather than a wrong one: a day that leaves leaves a checkpoint at the
-- last change of each market, which is the next day's base, and shows up to where there were changes. `here` is false where
-- changes between the base and the moment are in the archive only: a book with an ordinal stands at a change, and of each
-- day that has left the last one has such a book.
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

-- A book at a place: the newest usable snapshot at or before it, and the changes after that.
CREATE FUNCTION store.fold(of_market bigint, at timestamptz, without_snapshots_after timestamptz DEFAULT 'infinity')
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

CREATE FUNCTION store.fold_from(of_market bigint, place timestamptz, after_ordinal int, yes bigint[], no bigint[], before timestamptz)
RETURNS TABLE (side smallint, price int, size bigint) LANGUAGE sql STABLE AS $$
    WITH parts AS (
        SELECT 0::smallint AS side, yes[n]::int AS price, yes[n + 1] AS size
          FROM generate_series(1, coalesce(array_length(yes, 1), 0), 2) n
        UNION ALL
        SELECT 1::smallint, no[n]::int, no[n + 1] FROM generate_series(1, coalesce(array_length(no, 1), 0), 2) n
        UNION ALL
        SELECT d.side, d.price, d.delta FROM store.deltas d
         WHERE d.market = of_market AND d.exchange_ts >= place AND d.exchange_ts < before
           AND (d.exchange_ts > place OR d.ordinal > after_ordinal)
    )
    SELECT parts.side, parts.price, sum(parts.size)::bigint FROM parts
     GROUP BY parts.side, parts.price HAVING sum(parts.size) <> 0
$$;
COMMENT ON FUNCTION store.fold_from IS 'A book of a known place and the changes after it, up to a moment (exclusive).';

-- Whether a gap left the book as it was: the changes recorded before and after it, without any snapshot from after its
-- beginning, give the first book known after its end. Null: no such book, or changes between are in the archive only.
-- Equal books never close a gap.
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
    SELECT CASE WHEN EXISTS (SELECT FROM after a, store.base_at(of_market, a.exchange_ts - interval '1 microsecond', started) b
                              WHERE b.here) THEN
        NOT EXISTS ((TABLE known EXCEPT TABLE folded) UNION ALL (TABLE folded EXCEPT TABLE known)) END
$$;

-- A checkpoint is the book of its own place, whenever it was folded: a row of snapshots. True if it is one to fold from.
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

CREATE FUNCTION store.checkpoint(of_market bigint, before timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
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
COMMENT ON FUNCTION store.checkpoint IS 'Writes the folded book after the last change before a time, unless a usable snapshot is there already.';

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

CREATE FUNCTION store.levels(flat bigint[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_array(flat[n] * 0.0001, flat[n + 1] * 0.01) ORDER BY n), '[]'::jsonb)
      FROM generate_series(1, coalesce(array_length(flat, 1), 0), 2) n
$$;

CREATE VIEW store.rest_snapshots AS
SELECT m.ticker, NULL::timestamptz AS exchange_ts, NULL::int AS after_ordinal, r.taken_at, 'rest'::text AS source,
       store.levels(r.yes) AS yes, store.levels(r.no) AS no, CASE r.agrees WHEN 0 THEN false END AS verified, false AS is_reset
  FROM store.rest_books r JOIN store.markets m USING (market);
COMMENT ON VIEW store.rest_snapshots IS 'store.rest_books in the form of orderbook_snapshots.';
