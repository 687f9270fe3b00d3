-- The archive's hours. Rule 22: an hour knows when it is stale. Every statement that changes what an hour holds notes the
-- hour with its step, by a trigger on the relation; an export knows the step of the snapshot that it read.

-- What the archive holds: one row per exported hour.
CREATE TABLE store.exports (
    hour        timestamptz PRIMARY KEY,
    exported_at timestamptz NOT NULL,
    complete    boolean NOT NULL,
    unsealed    bigint NOT NULL,
    delta_rows  bigint,
    step        bigint
);
COMMENT ON TABLE store.exports IS 'What the archive holds: a row for each hour that was exported.';
COMMENT ON COLUMN store.exports.complete IS 'Whether every market alive in the hour was sealed past its end.';
COMMENT ON COLUMN store.exports.delta_rows IS 'Changes in the archive''s object of the hour.';
COMMENT ON COLUMN store.exports.step IS 'The step of the snapshot that the archive''s objects of the hour were read from; null: to be exported again.';

CREATE TABLE store.hours_touched (
    hour timestamptz PRIMARY KEY,
    step bigint NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE store.hours_touched IS 'The last step that changed what an hour of the archive holds. Stale: later than store.exports.step.';
COMMENT ON COLUMN store.hours_touched.hour IS 'Beginning of the hour.';

CREATE FUNCTION store.hour_of(at timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT date_bin('1 hour', at, timestamptz '1970-01-01 00:00:00+00')
$$;

-- The archive begins a day before the fleet did, or with the oldest record: gatherers may have recorded for long when
-- production begins, and a copy may come late. A time that is years off is no record's.
CREATE FUNCTION store.oldest_hour() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT least(store.hour_of(l.fleet_started_at - interval '1 day'),
                 (SELECT min(t.hour) FROM store.hours_touched t WHERE t.hour > l.fleet_started_at - interval '400 days'))
      FROM store.lease l
$$;
COMMENT ON FUNCTION store.oldest_hour IS 'The hour with which the archive begins.';

-- There are as many as the archive has, however long a stretch claims to be.
CREATE FUNCTION store.hours_within(from_ts timestamptz, to_ts timestamptz) RETURNS SETOF timestamptz LANGUAGE sql STABLE AS $$
    SELECT generate_series(greatest(store.hour_of(from_ts), store.oldest_hour()),
                           least(to_ts, clock_timestamp() + interval '1 hour') - interval '1 microsecond', interval '1 hour')
$$;
COMMENT ON FUNCTION store.hours_within IS 'The hours that a stretch (its end exclusive) lies in.';

CREATE FUNCTION store.touch(hours timestamptz[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    number bigint;
    before timestamptz;
    oldest timestamptz;
BEGIN
    IF cardinality(hours) > 0 THEN
        number := store.this_step();
        before := store.oldest_hour();
        INSERT INTO store.hours_touched AS t (hour, step) SELECT DISTINCT h, number FROM unnest(hours) h
        ON CONFLICT (hour) DO UPDATE SET step = excluded.step WHERE t.step < excluded.step;
        oldest := store.oldest_hour();
        IF oldest < before THEN  -- records older than all others: gaps that reach back into hours between are shown now
            INSERT INTO store.hours_touched (hour, step)
            SELECT DISTINCT h, number
              FROM coverage_gaps g,
                   generate_series(greatest(store.hour_of(g.started_at), oldest),
                                   least(g.ended_at, before) - interval '1 microsecond', interval '1 hour') h
             WHERE g.started_at < before AND g.ended_at > oldest
            ON CONFLICT (hour) DO NOTHING;
        END IF;
    END IF;
END $$;
COMMENT ON FUNCTION store.touch IS 'This transaction changes what these hours of the archive hold.';

-- An hour's opening book is folded from the last book before it: a change, or a book, reaches the hours up to the next
-- book, of those that hold anything. Hours that are not over are left out (no transaction takes ten minutes): they are not
-- archived yet.
CREATE FUNCTION store.openings_after(of_market bigint, place timestamptz) RETURNS SETOF timestamptz LANGUAGE sql STABLE AS $$
    SELECT hour FROM store.hours_touched
     WHERE hour > place AND hour < clock_timestamp() - interval '50 minutes'
       AND hour <= coalesce((SELECT min(s.exchange_ts) FROM store.snapshots s
                              WHERE s.market = of_market AND s.exchange_ts > place AND s.source <> 'checkpoint'
                                AND NOT s.is_reset AND s.verified IS NOT FALSE), 'infinity')
$$;
COMMENT ON FUNCTION store.openings_after IS 'The hours whose opening books a change or a book of a market at a place may reach.';

-- Changes come by COPY, straight into the partition of their day (a trigger that sees every row makes that a quarter
-- slower): the one place that writes them calls this. Whatever else writes to store.deltas meets its triggers.
CREATE FUNCTION store.touch_changes(hours timestamptz[], late_markets bigint[], late_places timestamptz[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM store.touch(hours || ARRAY(SELECT DISTINCT h FROM unnest(late_markets, late_places) x (market, place),
                                              store.openings_after(x.market, x.place) h));
END $$;
COMMENT ON FUNCTION store.touch_changes IS 'Changes were written into these hours; late: the last of each market and hour that is long over.';

-- A gap's book_equal looks at the first book after it. A reset is shown where it was seen, too.
CREATE FUNCTION store.touch_by_snapshots() RETURNS trigger LANGUAGE plpgsql AS $$
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

-- The triggers. Each sees the rows of a statement as touched_rows: those inserted, those deleted, those of an update as
-- they were and as they are.
DO $$
DECLARE
    relation text; body text; what text; which text;
BEGIN
    FOR relation, body IN VALUES
        ('trades', 'SELECT store.hour_of(exchange_ts) FROM touched_rows'),
        ('tickers', 'SELECT store.hour_of(exchange_ts) FROM touched_rows'),
        ('unplaced', 'SELECT store.hour_of(exchange_ts) FROM touched_rows'),
        ('late_deltas', 'SELECT store.hour_of(exchange_ts) FROM touched_rows'),
        ('lifecycle', 'SELECT store.hour_of(received_at) FROM touched_rows'),
        ('rest_books', 'SELECT store.hour_of(taken_at) FROM touched_rows'),
        ('deltas', $q$
            SELECT store.hour_of(exchange_ts) FROM touched_rows
            UNION
            SELECT store.openings_after(market, max(exchange_ts)) FROM touched_rows
             WHERE exchange_ts < clock_timestamp() - interval '50 minutes' GROUP BY market, store.hour_of(exchange_ts)
        $q$),
        ('snapshots', NULL),  -- above
        ('gaps', $q$
            SELECT store.hours_within(lower(part), upper(part))
              FROM (SELECT unnest(range_agg(tstzrange(started_at, ended_at))) AS part FROM touched_rows) x
        $q$)
    LOOP
        IF body IS NOT NULL THEN
            EXECUTE format($f$
            CREATE FUNCTION store.touch_by_%1$s() RETURNS trigger LANGUAGE plpgsql AS $t$
            BEGIN
                PERFORM store.touch(ARRAY(SELECT DISTINCT h FROM (%2$s) x (h)));
                RETURN NULL;
            END $t$ $f$, relation, body);
        END IF;
        FOR what, which IN VALUES ('INSERT', 'NEW'), ('UPDATE', 'OLD'), ('UPDATE', 'NEW'), ('DELETE', 'OLD') LOOP
            -- Late rows are deleted by the export that put them into the archive.
            IF relation <> 'late_deltas' OR what <> 'DELETE' THEN
                EXECUTE format('CREATE TRIGGER %I AFTER %s ON store.%I REFERENCING %s TABLE AS touched_rows'
                               ' FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_%s()',
                               lower(format('touch_%s_%s', what, which)), what, relation, which, relation);
            END IF;
        END LOOP;
    END LOOP;
END $$;

-- A time line's ends cut the gaps that a market shows, its first one, its own and those of the channels that carry all;
-- after its end there is no opening book. A market whose beginning was not known showed no gap at all: once it is known,
-- all gaps within its line are shown.
CREATE FUNCTION store.touch_by_lines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM store.touch(ARRAY(
        WITH changed AS MATERIALIZED (
            SELECT o.market, o.first_seen IS NULL AS begins,
                   coalesce(o.first_seen, o.seen_at) AS old_first, coalesce(n.first_seen, n.seen_at) AS new_first,
                   coalesce(o.ended_at, 'infinity') AS old_end, coalesce(n.ended_at, 'infinity') AS new_end
              FROM old_rows o JOIN new_rows n USING (market)
             WHERE (o.first_seen, o.ended_at) IS DISTINCT FROM (n.first_seen, n.ended_at)
        ), stretches AS (
            SELECT market, least(old_first, new_first) AS cut, greatest(old_first, new_first) AS whole FROM changed
            UNION ALL
            SELECT market, least(old_end, new_end), greatest(old_end, new_end) FROM changed
            UNION ALL
            SELECT market, new_first, new_end FROM changed WHERE begins
        )
        SELECT h FROM stretches s, store.gaps g, store.hours_within(greatest(g.started_at, s.cut), least(g.ended_at, s.whole)) h
         WHERE g.ended_at > s.cut AND g.started_at < s.whole
           AND g.market IN (s.market, (SELECT market FROM store.markets WHERE ticker = ''))
        UNION
        SELECT h FROM stretches s
         CROSS JOIN LATERAL (SELECT min(c.from_ts) FROM store.claims c
                              WHERE c.market = s.market AND c.channel = 'orderbook_delta' AND c.to_ts > s.cut) tile (begin)
         CROSS JOIN LATERAL store.hours_within(s.cut, least(tile.begin, s.whole)) h
         WHERE tile.begin > s.cut AND s.whole > s.cut
        UNION
        SELECT t.hour FROM changed JOIN store.hours_touched t ON t.hour >= least(old_end, new_end) AND t.hour < greatest(old_end, new_end)
         WHERE t.hour < clock_timestamp() - interval '50 minutes'
    ));
    RETURN NULL;
END $$;
CREATE TRIGGER touch_update AFTER UPDATE ON store.lines REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_lines();

CREATE FUNCTION store.touch_by_retractions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM store.touch(ARRAY(SELECT DISTINCT h FROM touched_rows r, store.hours_within(r.from_ts, r.to_ts) h));
    RETURN NULL;
END $$;
CREATE TRIGGER touch_insert_new AFTER INSERT ON store.retractions REFERENCING NEW TABLE AS touched_rows
    FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_retractions();

-- The first claim of a line ends its first gap: a run that claims from before all others touches the hours between, when
-- it begins and when it comes to claim more.
CREATE FUNCTION store.hours_begun(markets bigint[], begun timestamptz[]) RETURNS SETOF timestamptz LANGUAGE sql STABLE AS $$
    SELECT DISTINCT h
      FROM unnest(markets, begun) r (market, cover_from) JOIN store.market_lines m USING (market),
           store.hours_within(m.first_seen, r.cover_from + interval '1 millisecond') h
     WHERE r.cover_from > m.first_seen AND m.ticker <> ''
       AND NOT EXISTS (SELECT FROM store.runs o
                        WHERE o.market = r.market AND o.cover_from < r.cover_from
                          AND (NOT o.ended OR o.cover_to > greatest(o.cover_from, m.first_seen)))
       AND NOT EXISTS (SELECT FROM store.parts p
                        WHERE p.market = r.market AND p.from_ts < r.cover_from AND p.to_ts > m.first_seen)
$$;

CREATE FUNCTION store.touch_by_runs() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    markets bigint[];
    begun   timestamptz[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM store.reopen_lines(ARRAY(SELECT market FROM touched_rows));
        SELECT array_agg(market), array_agg(cover_from) INTO markets, begun FROM touched_rows WHERE cover_from IS NOT NULL;
    ELSE
        SELECT array_agg(n.market), array_agg(n.cover_from) INTO markets, begun
          FROM old_rows o JOIN touched_rows n USING (gatherer, lane, run)
         WHERE n.cover_from < coalesce(o.cover_from, 'infinity');
    END IF;
    IF markets IS NOT NULL THEN
        PERFORM store.touch(ARRAY(SELECT store.hours_begun(markets, begun)));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER touch_insert_new AFTER INSERT ON store.runs REFERENCING NEW TABLE AS touched_rows
    FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_runs();
CREATE TRIGGER touch_update_new AFTER UPDATE ON store.runs REFERENCING OLD TABLE AS old_rows NEW TABLE AS touched_rows
    FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_runs();
