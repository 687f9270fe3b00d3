-- Production, as it is: generated (workshop/generate/schema.py), and applied by nothing.

CREATE SCHEMA store;

CREATE FUNCTION public.book_at(ticker text, at timestamp with time zone) RETURNS TABLE(side text, price numeric, size numeric)
    LANGUAGE plpgsql STABLE
    AS $$
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

COMMENT ON FUNCTION public.book_at(ticker text, at timestamp with time zone) IS 'The book of a market after all changes up to a time, best level first. Promised up to coverage.sealed_until, outside gaps; beyond it the best known. An error where the changes are in the archive only.';

CREATE FUNCTION public.candles(ticker text, period_minutes integer, from_ts timestamp with time zone, to_ts timestamp with time zone) RETURNS TABLE(end_ts timestamp with time zone, open numeric, high numeric, low numeric, close numeric, volume numeric, trades bigint)
    LANGUAGE sql STABLE
    AS $$
    SELECT date_bin(make_interval(mins => period_minutes), t.exchange_ts, 'epoch') + make_interval(mins => period_minutes),
           (array_agg(t.yes_price ORDER BY t.exchange_ts, t.ordinal, t.trade_id))[1] * 0.0001, max(t.yes_price) * 0.0001,
           min(t.yes_price) * 0.0001,
           (array_agg(t.yes_price ORDER BY t.exchange_ts DESC, t.ordinal DESC, t.trade_id DESC))[1] * 0.0001,
           sum(t.count) * 0.01, count(*)
      FROM store.trades t JOIN store.markets m USING (market)
     WHERE m.ticker = candles.ticker AND t.exchange_ts >= from_ts AND t.exchange_ts < to_ts
     GROUP BY 1
     ORDER BY 1
$$;

COMMENT ON FUNCTION public.candles(ticker text, period_minutes integer, from_ts timestamp with time zone, to_ts timestamp with time zone) IS 'Candlesticks of one market from its trades, from the given begin (inclusive) to the end (exclusive); YES prices in dollars. A period without trades has none.';

CREATE FUNCTION store.add_day(parent text, day date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'store', 'pg_temp'
    AS $$
DECLARE
    part text := format('%s_p%s', parent, to_char(day, 'YYYYMMDD'));
    lo timestamptz := day::timestamp AT TIME ZONE 'UTC';
    hi timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    -- The merge, a refill and the housekeeping come to the same new day at once: one makes it, the others find it.
    PERFORM pg_advisory_xact_lock(hashtext('store.add_day'));
    IF to_regclass('store.' || part) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE store.%I (LIKE store.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', part, parent);
    EXECUTE format('ALTER TABLE store.%I ADD CONSTRAINT within_day CHECK (exchange_ts >= %L AND exchange_ts < %L)', part, lo, hi);
    EXECUTE format('ALTER TABLE store.%I ATTACH PARTITION store.%I FOR VALUES FROM (%L) TO (%L)', parent, part, lo, hi);
    EXECUTE format('ALTER TABLE store.%I DROP CONSTRAINT within_day', part);
END $$;

CREATE FUNCTION store.base_at(of_market bigint, at timestamp with time zone, without_snapshots_after timestamp with time zone DEFAULT 'infinity'::timestamp with time zone) RETURNS TABLE(exchange_ts timestamp with time zone, after_ordinal integer, yes bigint[], no bigint[], here boolean)
    LANGUAGE sql STABLE
    AS $$
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

COMMENT ON FUNCTION store.base_at(of_market bigint, at timestamp with time zone, without_snapshots_after timestamp with time zone) IS 'The book that the book at a moment is folded from (-infinity: none is known), and whether all changes after it are here.';

CREATE FUNCTION store.begin_lines() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO store.lines (market) SELECT market FROM new_rows;
    RETURN NULL;
END $$;

CREATE FUNCTION store.book_equal(of_market bigint, started timestamp with time zone, ended timestamp with time zone) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
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

CREATE FUNCTION store.changed_between(of_market bigint, a_ts timestamp with time zone, a_ordinal integer, b_ts timestamp with time zone, b_ordinal integer) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
    SELECT EXISTS (SELECT FROM store.deltas d
                    WHERE d.market = of_market AND d.exchange_ts >= least(a_ts, b_ts) AND d.exchange_ts <= greatest(a_ts, b_ts)
                      AND ((d.exchange_ts, d.ordinal) > (a_ts, a_ordinal)) <> ((d.exchange_ts, d.ordinal) > (b_ts, b_ordinal)))
        OR EXISTS (SELECT FROM store.snapshots s
                    WHERE s.market = of_market AND s.exchange_ts >= least(a_ts, b_ts) AND s.exchange_ts <= greatest(a_ts, b_ts)
                      AND s.after_ordinal >= 0
                      AND ((s.exchange_ts, s.after_ordinal) > (a_ts, a_ordinal)) <> ((s.exchange_ts, s.after_ordinal) > (b_ts, b_ordinal)))
$$;

COMMENT ON FUNCTION store.changed_between(of_market bigint, a_ts timestamp with time zone, a_ordinal integer, b_ts timestamp with time zone, b_ordinal integer) IS 'Whether a change lies between two places: after the first of them, up to the second.';

CREATE FUNCTION store.checkpoint(of_market bigint, before timestamp with time zone) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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

COMMENT ON FUNCTION store.checkpoint(of_market bigint, before timestamp with time zone) IS 'Writes the folded book after the last change before a time, unless a usable snapshot is there already.';

CREATE FUNCTION store.checkpoint_at(of_market bigint, place timestamp with time zone, ordinal integer) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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

COMMENT ON FUNCTION store.checkpoint_at(of_market bigint, place timestamp with time zone, ordinal integer) IS 'Writes the folded book at a change; marked as not known where changes before it are in the archive only.';

CREATE FUNCTION store.compact_markets(age interval, at_once bigint) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
    chosen bigint[];
BEGIN
    chosen := ARRAY(
        SELECT l.market FROM store.lines l
         WHERE l.over AND l.ended_at < now() - age AND l.first_seen IS NOT NULL
           AND NOT EXISTS (SELECT FROM store.runs r WHERE r.market = l.market AND (NOT r.ended OR r.reason = 'conflict'))
           AND NOT EXISTS (SELECT FROM store.run_parts p WHERE p.market = l.market)
           AND NOT EXISTS (SELECT FROM store.unplaced u WHERE u.market = l.market)
         ORDER BY l.market LIMIT at_once);
    INSERT INTO store.held (market, first_seen, ended_at, claims)
    SELECT l.market, l.first_seen, l.ended_at,
           CASE WHEN h.claims IS NOT NULL OR EXISTS (SELECT FROM store.runs r WHERE r.market = l.market)
                THEN coalesce(c.packed, '') END
      FROM store.lines l LEFT JOIN store.held h USING (market)
      LEFT JOIN (SELECT market, store.pack_claims(array_agg(gatherer), array_agg(lower(part)), array_agg(upper(part))) AS packed
                   FROM (SELECT market, gatherer, unnest(range_agg(tstzrange(from_ts, to_ts))) AS part
                           FROM store.claims WHERE market = ANY (chosen) AND channel = 'orderbook_delta'
                          GROUP BY market, gatherer) p
                  GROUP BY market) c USING (market)
     WHERE l.market = ANY (chosen)
     ORDER BY l.market
    ON CONFLICT (market) DO UPDATE
       SET first_seen = excluded.first_seen, ended_at = excluded.ended_at, claims = excluded.claims;
    DELETE FROM store.runs WHERE market = ANY (chosen);
    DELETE FROM store.lines WHERE market = ANY (chosen);
    RETURN cardinality(chosen);
END $$;

COMMENT ON FUNCTION store.compact_markets(age interval, at_once bigint) IS 'One row of each market that ended so long ago, instead of its time line and its runs. What people see stays the same.';

CREATE FUNCTION store.compact_slices(age interval) RETURNS bigint
    LANGUAGE sql
    AS $$
    WITH gone AS (
        DELETE FROM store.slices s
         WHERE s.ended AND coalesce(s.horizon, '-infinity') < now() - age
           AND NOT EXISTS (SELECT FROM store.runs r WHERE (r.gatherer, r.lane, r.slice) = (s.gatherer, s.lane, s.slice))
           AND EXISTS (SELECT FROM store.slices l WHERE l.channel = s.channel AND (l.gatherer, l.lane, l.slice) > (s.gatherer, s.lane, s.slice))
        RETURNING 1
    )
    SELECT count(*) FROM gone
$$;

COMMENT ON FUNCTION store.compact_slices(age interval) IS 'Deletes slices that ended so long ago and that no run is left of.';

CREATE FUNCTION store.complete_feed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'store', 'pg_temp'
    AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM store.feed f WHERE f.step = NEW.step) THEN
        PERFORM store.write_feed(NEW.step, 'other', 0, NULL, NULL, NULL);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION store.drop_checkpoints(of_markets bigint[], from_ts timestamp with time zone[], from_ordinal integer[], until_ts timestamp with time zone[], seen timestamp with time zone[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
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

COMMENT ON FUNCTION store.drop_checkpoints(of_markets bigint[], from_ts timestamp with time zone[], from_ordinal integer[], until_ts timestamp with time zone[], seen timestamp with time zone[]) IS 'Removes checkpoints that lack something; those of days that have left are marked as not known.';

CREATE FUNCTION store.drop_day(day date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'store', 'pg_temp'
    AS $$
DECLARE
    part text := format('deltas_p%s', to_char(day, 'YYYYMMDD'));
    lo timestamptz := day::timestamp AT TIME ZONE 'UTC';
    lacking bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM store.detached d WHERE d.day = drop_day.day) THEN
        RAISE EXCEPTION 'store.detached does not say that % leaves', day;
    END IF;
    IF day >= (now() AT TIME ZONE 'UTC')::date THEN
        RAISE EXCEPTION '% is not over', day;
    END IF;
    SELECT count(*) INTO lacking
      FROM (SELECT date_trunc('hour', exchange_ts, 'UTC') AS hour, count(*) AS rows FROM store.deltas
             WHERE exchange_ts >= lo AND exchange_ts < lo + interval '24 hours' GROUP BY 1) h
      LEFT JOIN store.exports e USING (hour)
     WHERE coalesce(e.delta_rows, 0) < h.rows;
    IF lacking > 0 THEN
        RAISE EXCEPTION '% hours of % are not archived', lacking, day;
    END IF;
    EXECUTE format('ALTER TABLE store.deltas DETACH PARTITION store.%I', part);
    EXECUTE format('DROP TABLE store.%I', part);
END $$;

COMMENT ON FUNCTION store.drop_day(day date) IS 'Drops a day of changes whose late rows already go elsewhere; set a short lock_timeout before.';

CREATE FUNCTION store.drop_feed(keep interval, archived boolean DEFAULT false) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'store', 'pg_temp'
    AS $_$
DECLARE
    part record;
    newest timestamptz;
    size bigint := store.feed_part_steps();
    there bigint := (SELECT max(last_step) FROM store.feed_hours WHERE archived_at IS NOT NULL);
    gone bigint := 0;
BEGIN
    FOR part IN
        SELECT c.relname, substring(c.relname FROM '^feed_p(\d+)$')::bigint AS number
          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'store.feed'::regclass
           AND substring(c.relname FROM '^feed_p(\d+)$')::bigint < (SELECT step / size FROM store.lease)
         ORDER BY 2
    LOOP
        EXIT WHEN archived AND (there IS NULL OR (part.number + 1) * size > there + 1);
        EXECUTE format('SELECT committed_at FROM store.%I ORDER BY step DESC LIMIT 1', part.relname) INTO newest;
        EXIT WHEN newest >= now() - keep;
        EXECUTE format('ALTER TABLE store.feed DETACH PARTITION store.%I', part.relname);
        EXECUTE format('DROP TABLE store.%I', part.relname);
        gone := gone + 1;
    END LOOP;
    RETURN gone;
END $_$;

COMMENT ON FUNCTION store.drop_feed(keep interval, archived boolean) IS 'Drops partitions of the feed whose rows are all so old and, if there is an archive, in it; set a short lock_timeout before. Returns how many.';

CREATE FUNCTION store.feed_part_steps() RETURNS bigint
    LANGUAGE sql IMMUTABLE
    AS $$SELECT 20000::bigint$$;

CREATE FUNCTION store.fold(of_market bigint, at timestamp with time zone, without_snapshots_after timestamp with time zone DEFAULT 'infinity'::timestamp with time zone) RETURNS TABLE(side smallint, price integer, size bigint)
    LANGUAGE sql STABLE
    AS $$
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

COMMENT ON FUNCTION store.fold(of_market bigint, at timestamp with time zone, without_snapshots_after timestamp with time zone) IS 'The book at a moment; none where changes that lead to it are in the archive only (store.base_at).';

CREATE FUNCTION store.fold_from(of_market bigint, place timestamp with time zone, after_ordinal integer, yes bigint[], no bigint[], before timestamp with time zone) RETURNS TABLE(side smallint, price integer, size bigint)
    LANGUAGE sql STABLE
    AS $$
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

COMMENT ON FUNCTION store.fold_from(of_market bigint, place timestamp with time zone, after_ordinal integer, yes bigint[], no bigint[], before timestamp with time zone) IS 'A book of a known place and the changes after it, up to a moment (exclusive).';

CREATE FUNCTION store.give_ordinals(of_markets bigint[], at_times timestamp with time zone[]) RETURNS TABLE(placed_id uuid, placed_market bigint, placed_ts timestamp with time zone, placed_ordinal integer)
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    AS $$  -- a plan that was made while a day was empty would read all of it
DECLARE
    first timestamptz;  -- first and last leave the other days' partitions alone from the start
    last timestamptz;
    ids uuid[];
    times timestamptz[];
    twins int[];
BEGIN
    SELECT min(t), max(t) INTO first, last FROM unnest(at_times) t;
    IF first IS NULL THEN
        RETURN;
    END IF;
    WITH place AS MATERIALIZED (
        SELECT DISTINCT p.market, p.exchange_ts,
               EXISTS (SELECT FROM store.detached g WHERE g.day = (p.exchange_ts AT TIME ZONE 'UTC')::date) AS archived
          FROM unnest(of_markets, at_times) p (market, exchange_ts)
    ), sold AS MATERIALIZED (
        SELECT t.market, t.exchange_ts, p.archived, (1 - t.taker_side)::smallint AS side,
               CASE t.taker_side WHEN 1 THEN t.yes_price ELSE 10000 - t.yes_price END AS price, t.count, t.trade_id, t.ordinal
          FROM place p JOIN store.trades t ON t.market = p.market AND t.exchange_ts = p.exchange_ts
         WHERE NOT t.is_block AND t.exchange_ts BETWEEN first AND last
    ), changed AS (
        SELECT d.market, d.exchange_ts, p.archived, d.side, d.price, -d.delta AS count, d.ordinal
          FROM place p JOIN store.deltas d ON d.market = p.market AND d.exchange_ts = p.exchange_ts
         WHERE d.delta < 0 AND d.exchange_ts BETWEEN first AND last
        UNION ALL
        SELECT d.market, d.exchange_ts, p.archived, d.side, d.price, -d.delta, d.ordinal
          FROM place p JOIN store.late_deltas d ON d.market = p.market AND d.exchange_ts = p.exchange_ts
         WHERE d.delta < 0
    ), wanted AS (
        SELECT market, exchange_ts, side, price, count, trade_id, ordinal AS has, NULL::int AS twin
          FROM sold WHERE NOT archived OR ordinal IS NULL
        UNION ALL
        SELECT market, exchange_ts, side, price, count, NULL, NULL, ordinal
          FROM changed c
         WHERE NOT archived
            OR NOT EXISTS (SELECT FROM sold s WHERE s.market = c.market AND s.exchange_ts = c.exchange_ts AND s.ordinal = c.ordinal)
    ), numbered AS (
        SELECT *, row_number() OVER (PARTITION BY market, exchange_ts, side, price, count, trade_id IS NULL
                                         ORDER BY trade_id, twin) AS nth
          FROM wanted
    ), paired AS (
        SELECT trade_id, exchange_ts, has, max(twin) OVER (PARTITION BY market, exchange_ts, side, price, count, nth) AS twin
          FROM numbered
    )
    SELECT array_agg(trade_id), array_agg(exchange_ts), array_agg(twin) INTO ids, times, twins
      FROM paired WHERE trade_id IS NOT NULL AND has IS DISTINCT FROM twin;
    IF ids IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    UPDATE store.trades t SET ordinal = n.ordinal FROM unnest(ids, times, twins) n (trade_id, exchange_ts, ordinal)
     WHERE t.trade_id = n.trade_id AND t.exchange_ts = n.exchange_ts AND t.exchange_ts BETWEEN first AND last
    RETURNING t.trade_id, t.market, t.exchange_ts, t.ordinal;
END $$;

COMMENT ON FUNCTION store.give_ordinals(of_markets bigint[], at_times timestamp with time zone[]) IS 'Gives the trades of some milliseconds of markets the ordinals of their twins, in the transaction that stores a trade or a change; returns the trades that changed.';

CREATE FUNCTION store.hour_of(at timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT date_bin('1 hour', at, timestamptz '1970-01-01 00:00:00+00')
$$;

CREATE FUNCTION store.hours_begun(markets bigint[], begun timestamp with time zone[]) RETURNS SETOF timestamp with time zone
    LANGUAGE sql STABLE
    AS $$
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

CREATE FUNCTION store.hours_within(from_ts timestamp with time zone, to_ts timestamp with time zone) RETURNS SETOF timestamp with time zone
    LANGUAGE sql STABLE
    AS $$
    SELECT generate_series(greatest(store.hour_of(from_ts), store.oldest_hour()),
                           least(to_ts, clock_timestamp() + interval '1 hour') - interval '1 microsecond', interval '1 hour')
$$;

COMMENT ON FUNCTION store.hours_within(from_ts timestamp with time zone, to_ts timestamp with time zone) IS 'The hours that a stretch (its end exclusive) lies in.';

CREATE FUNCTION store.levels(flat bigint[]) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_array(flat[n] * 0.0001, flat[n + 1] * 0.01) ORDER BY n), '[]'::jsonb)
      FROM generate_series(1, coalesce(array_length(flat, 1), 0), 2) n
$$;

CREATE FUNCTION store.ms_of(at timestamp with time zone) RETURNS bigint
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT (extract(epoch FROM at) * 1000)::bigint
$$;

CREATE FUNCTION store.note_market_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $_$
BEGIN
    INSERT INTO public.market_changes (ticker, seen_at, field, old, new)
    SELECT NEW.ticker, NEW.updated_at, coalesce(o.key, n.key), o.value, n.value
      FROM jsonb_each(OLD.raw) o FULL JOIN jsonb_each(NEW.raw) n ON n.key = o.key
     WHERE o.value IS DISTINCT FROM n.value
       AND coalesce(o.key, n.key) !~ '(_dollars|_fp)$'
       AND coalesce(o.key, n.key) <> 'updated_time';
    RETURN NEW;
END $_$;

CREATE FUNCTION store.number_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF EXISTS (SELECT FROM touched_rows) THEN
        PERFORM store.this_step();
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION store.oldest_hour() RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    AS $$
    SELECT least(store.hour_of(l.fleet_started_at - interval '1 day'),
                 (SELECT min(t.hour) FROM store.hours_touched t WHERE t.hour > l.fleet_started_at - interval '400 days'))
      FROM store.lease l
$$;

COMMENT ON FUNCTION store.oldest_hour() IS 'The hour with which the archive begins.';

CREATE FUNCTION store.openings_after(of_market bigint, place timestamp with time zone) RETURNS SETOF timestamp with time zone
    LANGUAGE sql STABLE
    AS $$
    SELECT hour FROM store.hours_touched
     WHERE hour > place AND hour < clock_timestamp() - interval '50 minutes'
       AND hour <= coalesce((SELECT min(s.exchange_ts) FROM store.snapshots s
                              WHERE s.market = of_market AND s.exchange_ts > place AND s.source <> 'checkpoint'
                                AND NOT s.is_reset AND s.verified IS NOT FALSE), 'infinity')
$$;

COMMENT ON FUNCTION store.openings_after(of_market bigint, place timestamp with time zone) IS 'The hours whose opening books a change or a book of a market at a place may reach.';

CREATE FUNCTION store.pack_claims(gatherers smallint[], from_ts timestamp with time zone[], to_ts timestamp with time zone[]) RETURNS bytea
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT coalesce(string_agg(int2send(gatherer) || substring(int8send(store.ms_of(from_ts)) FROM 3)
                                                  || substring(int8send(store.ms_of(to_ts)) FROM 3), ''::bytea
                               ORDER BY gatherer, from_ts), ''::bytea)
      FROM unnest(gatherers, from_ts, to_ts) x (gatherer, from_ts, to_ts)
$$;

CREATE FUNCTION store.place_trades(of_markets bigint[], at_times timestamp with time zone[]) RETURNS bigint
    LANGUAGE sql
    AS $$
    SELECT count(*) FROM store.give_ordinals(of_markets, at_times)
$$;

COMMENT ON FUNCTION store.place_trades(of_markets bigint[], at_times timestamp with time zone[]) IS 'Gives the trades of some milliseconds of markets the ordinals of their twins; called in the transaction that stores a trade or a change.';

CREATE FUNCTION store.put_feed(kind text, rows integer, from_ms bigint, to_ms bigint, block bytea) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'store', 'pg_temp'
    AS $$
DECLARE
    number bigint := store.this_step();
BEGIN
    PERFORM store.write_feed(number, kind, rows, from_ms, to_ms, block);
    RETURN number;
END $$;

COMMENT ON FUNCTION store.put_feed(kind text, rows integer, from_ms bigint, to_ms bigint, block bytea) IS 'What this transaction changed of merged data, under its step; once, as the last of the transaction.';

CREATE FUNCTION store.reopen_lines(markets bigint[]) RETURNS void
    LANGUAGE sql
    AS $$
    INSERT INTO store.lines (market, seen_at, first_seen, ended_at, over)
    SELECT market, first_seen, first_seen, ended_at, true FROM store.held WHERE market = ANY (markets)
    ON CONFLICT (market) DO NOTHING
$$;

COMMENT ON FUNCTION store.reopen_lines(markets bigint[]) IS 'Time lines of these markets, as store.held has them, become rows of store.lines.';

CREATE FUNCTION store.reset_from(of_market bigint, place timestamp with time zone, ordinal integer, seen timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    AS $$
    SELECT least(seen,
        (SELECT d.exchange_ts FROM store.deltas d
          WHERE d.market = of_market AND d.exchange_ts >= place AND (d.exchange_ts > place OR d.ordinal > reset_from.ordinal)
          ORDER BY d.exchange_ts LIMIT 1),
        (SELECT s.exchange_ts FROM store.snapshots s
          WHERE s.market = of_market AND s.exchange_ts >= place AND s.after_ordinal >= 0
            AND (s.exchange_ts > place OR s.after_ordinal > reset_from.ordinal)
          ORDER BY s.exchange_ts LIMIT 1))
$$;

COMMENT ON FUNCTION store.reset_from(of_market bigint, place timestamp with time zone, ordinal integer, seen timestamp with time zone) IS 'From when on a reset changes the book.';

CREATE FUNCTION store.this_step() RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
    number bigint := nullif(current_setting('fleet.step', true), '');
BEGIN
    IF number IS NULL THEN
        UPDATE store.lease SET step = step + 1 RETURNING step INTO number;
        PERFORM set_config('fleet.step', number::text, true);
    END IF;
    RETURN number;
END $$;

COMMENT ON FUNCTION store.this_step() IS 'The step number of this transaction; it takes the next one if it has none.';

CREATE FUNCTION store.touch(hours timestamp with time zone[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
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

COMMENT ON FUNCTION store.touch(hours timestamp with time zone[]) IS 'This transaction changes what these hours of the archive hold.';

CREATE FUNCTION store.touch_by_deltas() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
            BEGIN
                PERFORM store.touch(ARRAY(SELECT DISTINCT h FROM (
            SELECT store.hour_of(exchange_ts) FROM touched_rows
            UNION
            SELECT store.openings_after(market, max(exchange_ts)) FROM touched_rows
             WHERE exchange_ts < clock_timestamp() - interval '50 minutes' GROUP BY market, store.hour_of(exchange_ts)
        ) x (h)));
                RETURN NULL;
            END $$;

CREATE FUNCTION store.touch_by_gaps() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
            BEGIN
                PERFORM store.touch(ARRAY(SELECT DISTINCT h FROM (
            SELECT store.hours_within(lower(part), upper(part))
              FROM (SELECT unnest(range_agg(tstzrange(started_at, ended_at))) AS part FROM touched_rows) x
        ) x (h)));
                RETURN NULL;
            END $$;

CREATE FUNCTION store.touch_by_late_deltas() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
            BEGIN
                PERFORM store.touch(ARRAY(SELECT DISTINCT h FROM (SELECT store.hour_of(exchange_ts) FROM touched_rows) x (h)));
                RETURN NULL;
            END $$;

CREATE FUNCTION store.touch_by_lifecycle() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
            BEGIN
                PERFORM store.touch(ARRAY(SELECT DISTINCT h FROM (SELECT store.hour_of(received_at) FROM touched_rows) x (h)));
                RETURN NULL;
            END $$;

CREATE FUNCTION store.touch_by_lines() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION store.touch_by_rest_books() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
            BEGIN
                PERFORM store.touch(ARRAY(SELECT DISTINCT h FROM (SELECT store.hour_of(taken_at) FROM touched_rows) x (h)));
                RETURN NULL;
            END $$;

CREATE FUNCTION store.touch_by_retractions() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM store.touch(ARRAY(SELECT DISTINCT h FROM touched_rows r, store.hours_within(r.from_ts, r.to_ts) h));
    RETURN NULL;
END $$;

CREATE FUNCTION store.touch_by_runs() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION store.touch_by_snapshots() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION store.touch_by_tickers() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
            BEGIN
                PERFORM store.touch(ARRAY(SELECT DISTINCT h FROM (SELECT store.hour_of(exchange_ts) FROM touched_rows) x (h)));
                RETURN NULL;
            END $$;

CREATE FUNCTION store.touch_by_trades() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
            BEGIN
                PERFORM store.touch(ARRAY(SELECT DISTINCT h FROM (SELECT store.hour_of(exchange_ts) FROM touched_rows) x (h)));
                RETURN NULL;
            END $$;

CREATE FUNCTION store.touch_by_unplaced() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
            BEGIN
                PERFORM store.touch(ARRAY(SELECT DISTINCT h FROM (SELECT store.hour_of(exchange_ts) FROM touched_rows) x (h)));
                RETURN NULL;
            END $$;

CREATE FUNCTION store.touch_changes(hours timestamp with time zone[], late_markets bigint[], late_places timestamp with time zone[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM store.touch(hours || ARRAY(SELECT DISTINCT h FROM unnest(late_markets, late_places) x (market, place),
                                              store.openings_after(x.market, x.place) h));
END $$;

COMMENT ON FUNCTION store.touch_changes(hours timestamp with time zone[], late_markets bigint[], late_places timestamp with time zone[]) IS 'Changes were written into these hours; late: the last of each market and hour that is long over.';

CREATE FUNCTION store.unpack_claims(claims bytea) RETURNS TABLE(gatherer smallint, from_ts timestamp with time zone, to_ts timestamp with time zone)
    LANGUAGE sql STABLE
    AS $$
    SELECT ('x' || substring(hex FROM n FOR 4))::bit(16)::int::smallint,
           timestamptz '1970-01-01 00:00:00+00' + ('x0000' || substring(hex FROM n + 4 FOR 12))::bit(64)::bigint * interval '1 millisecond',
           timestamptz '1970-01-01 00:00:00+00' + ('x0000' || substring(hex FROM n + 16 FOR 12))::bit(64)::bigint * interval '1 millisecond'
      FROM encode(claims, 'hex') hex, generate_series(1, length(hex), 28) n
$$;

CREATE FUNCTION store.write_feed(of_step bigint, kind text, rows integer, from_ms bigint, to_ms bigint, block bytea) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'store', 'pg_temp'
    AS $$
DECLARE
    size bigint := store.feed_part_steps();
    number bigint := of_step / size;
    part text := format('feed_p%s', number);
BEGIN
    IF to_regclass('store.' || part) IS NULL THEN
        EXECUTE format('CREATE TABLE store.%I (LIKE store.feed INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', part);
        EXECUTE format('ALTER TABLE store.%I ADD CONSTRAINT within_part CHECK (step >= %s AND step < %s)', part, number * size, (number + 1) * size);
        EXECUTE format('ALTER TABLE store.feed ATTACH PARTITION store.%I FOR VALUES FROM (%s) TO (%s)', part, number * size, (number + 1) * size);
        EXECUTE format('ALTER TABLE store.%I DROP CONSTRAINT within_part', part);
        EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON store.%I FROM kalshi_writer', part);
    END IF;
    INSERT INTO store.feed (step, kind, rows, from_ms, to_ms, block) VALUES (of_step, kind, rows, from_ms, to_ms, block);
    PERFORM pg_notify('kalshi_feed', of_step::text);
END $$;

COMMENT ON FUNCTION store.write_feed(of_step bigint, kind text, rows integer, from_ms bigint, to_ms bigint, block bytea) IS 'Writes the row of a step and makes its partition; for store.put_feed and the trigger alone.';

CREATE TABLE store.markets (
    market bigint NOT NULL,
    ticker text NOT NULL
);

COMMENT ON TABLE store.markets IS 'Numbers for tickers; the empty ticker stands for all markets of a channel that carries them all.';

CREATE TABLE store.rest_candles (
    ticker text NOT NULL,
    period_minutes integer NOT NULL,
    end_ts timestamp with time zone NOT NULL,
    open integer NOT NULL,
    high integer NOT NULL,
    low integer NOT NULL,
    close integer NOT NULL,
    volume bigint NOT NULL,
    open_interest bigint,
    fetched_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT rest_candles_period_minutes_check CHECK ((period_minutes = ANY (ARRAY[1, 60, 1440])))
);

COMMENT ON TABLE store.rest_candles IS 'Candlesticks as REST lists them: prices in 1e-4 dollar, volume and open interest in 1e-2 contract. Periods without a trade are left out.';

CREATE TABLE store.trades (
    trade_id uuid NOT NULL,
    market bigint NOT NULL,
    exchange_ts timestamp with time zone NOT NULL,
    yes_price integer NOT NULL,
    count bigint NOT NULL,
    taker_side smallint NOT NULL,
    is_block boolean NOT NULL,
    received_at timestamp with time zone NOT NULL,
    source text NOT NULL,
    ordinal integer,
    CONSTRAINT trades_source_check CHECK ((source = ANY (ARRAY['ws'::text, 'rest'::text])))
)
PARTITION BY RANGE (exchange_ts);

COMMENT ON TABLE store.trades IS 'Every trade, once, by trade_id. A partition a day.';

COMMENT ON COLUMN store.trades.ordinal IS 'Ordinal of the twin: the change of the same market and millisecond at the maker''s side and price of minus the count. Null: a block trade, or no twin is recorded.';

CREATE VIEW public.candlesticks AS
 SELECT c.ticker,
    c.period_minutes,
    c.end_ts,
    c.open,
    c.high,
    c.low,
    c.close,
    c.volume,
    c.open_interest,
    c.source
   FROM ( SELECT m.ticker,
            p.period_minutes,
            (date_bin(make_interval(mins => p.period_minutes), t.exchange_ts, '1970-01-01 00:00:00+00'::timestamp with time zone) + make_interval(mins => p.period_minutes)) AS end_ts,
            (((array_agg(t.yes_price ORDER BY t.exchange_ts, t.ordinal, t.trade_id))[1])::numeric * 0.0001) AS open,
            ((max(t.yes_price))::numeric * 0.0001) AS high,
            ((min(t.yes_price))::numeric * 0.0001) AS low,
            (((array_agg(t.yes_price ORDER BY t.exchange_ts DESC, t.ordinal DESC, t.trade_id DESC))[1])::numeric * 0.0001) AS close,
            (sum(t.count) * 0.01) AS volume,
            NULL::numeric AS open_interest,
            'trades'::text AS source
           FROM ((store.trades t
             JOIN store.markets m USING (market))
             CROSS JOIN ( VALUES (1), (60), (1440)) p(period_minutes))
          GROUP BY m.ticker, p.period_minutes, (date_bin(make_interval(mins => p.period_minutes), t.exchange_ts, '1970-01-01 00:00:00+00'::timestamp with time zone) + make_interval(mins => p.period_minutes))) c
  WHERE (NOT (EXISTS ( SELECT
           FROM store.rest_candles r
          WHERE ((r.ticker = c.ticker) AND (r.period_minutes = c.period_minutes) AND (r.end_ts = c.end_ts)))))
UNION ALL
 SELECT r.ticker,
    r.period_minutes,
    r.end_ts,
    ((r.open)::numeric * 0.0001) AS open,
    ((r.high)::numeric * 0.0001) AS high,
    ((r.low)::numeric * 0.0001) AS low,
    ((r.close)::numeric * 0.0001) AS close,
    ((r.volume)::numeric * 0.01) AS volume,
    ((r.open_interest)::numeric * 0.01) AS open_interest,
    'rest'::text AS source
   FROM store.rest_candles r;

COMMENT ON VIEW public.candlesticks IS 'Candlesticks of 1, 60 and 1440 minutes: from recorded trades, and where fleet backfill has read the exchange''s own, those. Ask for one ticker; for a part of its time ask candles(), which reads that part only.';

COMMENT ON COLUMN public.candlesticks.ticker IS 'The market''s ticker, as the exchange writes it.';

COMMENT ON COLUMN public.candlesticks.period_minutes IS '1, 60 or 1440.';

COMMENT ON COLUMN public.candlesticks.end_ts IS 'End of the period (exclusive), UTC.';

COMMENT ON COLUMN public.candlesticks.open IS 'First price of the period, dollars of YES.';

COMMENT ON COLUMN public.candlesticks.high IS 'Greatest price.';

COMMENT ON COLUMN public.candlesticks.low IS 'Least price.';

COMMENT ON COLUMN public.candlesticks.close IS 'Last price.';

COMMENT ON COLUMN public.candlesticks.volume IS 'Contracts traded in the period.';

COMMENT ON COLUMN public.candlesticks.open_interest IS 'Not known from trades: null.';

COMMENT ON COLUMN public.candlesticks.source IS 'trades: made of the trades here. rest: the exchange''s own.';

CREATE TABLE store.checks (
    hour timestamp with time zone NOT NULL,
    check_name text NOT NULL,
    compared bigint NOT NULL,
    failed bigint NOT NULL,
    examples jsonb NOT NULL,
    checked_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE store.checks IS 'The checks of each hour, as of its last export while its changes were in production.';

CREATE VIEW public.checks AS
 SELECT hour,
    check_name,
    compared,
    failed,
    examples,
    checked_at
   FROM store.checks;

COMMENT ON VIEW public.checks IS 'What each exported hour was checked for: how much was compared, and how much contradicts the promise.';

COMMENT ON COLUMN public.checks.hour IS 'Beginning of the hour, time of the exchange.';

COMMENT ON COLUMN public.checks.check_name IS 'books: the changes between two books lead from the one to the other. trades: each trade has its change of the book, and its ordinal. rest_books: REST gave a book that the changes went through.';

COMMENT ON COLUMN public.checks.compared IS 'How many were compared; what lies across a gap or near a reset is not.';

COMMENT ON COLUMN public.checks.failed IS 'How many of them contradict.';

COMMENT ON COLUMN public.checks.examples IS 'The first contradictions: a JSON array of {ticker, exchange_ts}.';

COMMENT ON COLUMN public.checks.checked_at IS 'When the hour was read.';

CREATE TABLE store.held (
    market bigint NOT NULL,
    first_seen timestamp with time zone NOT NULL,
    ended_at timestamp with time zone NOT NULL,
    claims bytea
);

COMMENT ON TABLE store.held IS 'Markets that ended long ago: their time lines, and what was claimed of their order books. A row of store.lines, if something came of one since, stands for its time line.';

COMMENT ON COLUMN store.held.claims IS '14 bytes a stretch (store.pack_claims); null: no gatherer ever had a run of it.';

CREATE TABLE store.run_parts (
    gatherer smallint NOT NULL,
    lane smallint NOT NULL,
    run bigint NOT NULL,
    market bigint NOT NULL,
    channel text NOT NULL,
    from_ts timestamp with time zone NOT NULL,
    to_ts timestamp with time zone NOT NULL,
    CONSTRAINT run_parts_check CHECK ((to_ts > from_ts))
);

COMMENT ON TABLE store.run_parts IS 'What a run held before a contradiction, if it went on after it.';

CREATE VIEW store.parts AS
 SELECT run_parts.gatherer,
    run_parts.lane,
    run_parts.run,
    run_parts.market,
    run_parts.channel,
    run_parts.from_ts,
    run_parts.to_ts
   FROM store.run_parts
UNION ALL
 SELECT p.gatherer,
    ('-1'::integer)::smallint AS lane,
    (0)::bigint AS run,
    h.market,
    'orderbook_delta'::text AS channel,
    p.from_ts,
    p.to_ts
   FROM store.held h,
    LATERAL store.unpack_claims(h.claims) p(gatherer, from_ts, to_ts);

COMMENT ON VIEW store.parts IS 'Stretches that were held by runs that claim something else now, or are no longer kept one by one (lane -1).';

CREATE TABLE store.retractions (
    market bigint NOT NULL,
    channel text NOT NULL,
    gatherer smallint,
    lane smallint NOT NULL,
    run bigint NOT NULL,
    from_ts timestamp with time zone NOT NULL,
    to_ts timestamp with time zone NOT NULL,
    reason text NOT NULL,
    noted_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT retractions_check CHECK ((to_ts > from_ts))
);

COMMENT ON TABLE store.retractions IS 'What is claimed no longer: by one gatherer (a contradiction found after its run ended), or by all (no gatherer: exchange time stepped back).';

COMMENT ON COLUMN store.retractions.run IS 'The run that took it back itself; 0: another copy contradicted it.';

CREATE TABLE store.runs (
    gatherer smallint NOT NULL,
    lane smallint NOT NULL,
    run bigint NOT NULL,
    slice bigint NOT NULL,
    market bigint NOT NULL,
    cover_from timestamp with time zone,
    cover_to timestamp with time zone,
    ended boolean DEFAULT false NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    excluded boolean DEFAULT false NOT NULL,
    fixed boolean DEFAULT false NOT NULL
);

COMMENT ON TABLE store.runs IS 'The part of each market in each slice, from its begin there: what it claims to hold without a hole.';

COMMENT ON COLUMN store.runs.cover_from IS 'From here on the run provably holds everything; null: it claims nothing.';

COMMENT ON COLUMN store.runs.cover_to IS 'Where the claim of an ended run ends (exclusive); an open run claims up to its slice''s horizon.';

COMMENT ON COLUMN store.runs.excluded IS 'It goes on, but gives neither rows nor coverage after cover_to, until it is readmitted.';

COMMENT ON COLUMN store.runs.fixed IS 'Its claim begins at cover_from and never earlier: it was readmitted there, and what came before was passed over.';

CREATE TABLE store.slices (
    gatherer smallint NOT NULL,
    lane smallint NOT NULL,
    slice bigint NOT NULL,
    session bigint NOT NULL,
    sid integer NOT NULL,
    channel text NOT NULL,
    horizon timestamp with time zone,
    ended boolean DEFAULT false NOT NULL,
    reason text DEFAULT ''::text NOT NULL
)
WITH (fillfactor='70');

COMMENT ON TABLE store.slices IS 'Unbroken stretches of the numbered frames of one subscription at a gatherer, a row each.';

COMMENT ON COLUMN store.slices.horizon IS 'How far the slice is proven complete, in exchange time.';

CREATE VIEW store.claims AS
 SELECT c.gatherer,
    c.market,
    c.channel,
    lower(x.held) AS from_ts,
    upper(x.held) AS to_ts
   FROM ( SELECT r.gatherer,
            r.market,
            s.channel,
            r.cover_from AS from_ts,
                CASE
                    WHEN r.ended THEN r.cover_to
                    ELSE s.horizon
                END AS to_ts
           FROM (store.runs r
             JOIN store.slices s USING (gatherer, lane, slice))
          WHERE (r.cover_from <
                CASE
                    WHEN r.ended THEN r.cover_to
                    ELSE s.horizon
                END)
        UNION ALL
         SELECT parts.gatherer,
            parts.market,
            parts.channel,
            parts.from_ts,
            parts.to_ts
           FROM store.parts) c,
    LATERAL unnest((tstzmultirange(tstzrange(c.from_ts, c.to_ts)) - COALESCE(( SELECT range_agg(tstzrange(t.from_ts, t.to_ts)) AS range_agg
           FROM store.retractions t
          WHERE ((t.market = c.market) AND (t.channel = c.channel) AND ((t.gatherer IS NULL) OR (t.gatherer = c.gatherer)))), '{}'::tstzmultirange))) x(held);

COMMENT ON VIEW store.claims IS 'What each gatherer claims of each market and channel, less what it claims no longer.';

CREATE TABLE store.gaps (
    gap bigint NOT NULL,
    market bigint NOT NULL,
    channel text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone NOT NULL,
    reason text NOT NULL,
    had jsonb NOT NULL,
    written_at timestamp with time zone DEFAULT now() NOT NULL,
    healed_at timestamp with time zone,
    refilled_at timestamp with time zone,
    CONSTRAINT gaps_check CHECK ((ended_at > started_at))
);

COMMENT ON TABLE store.gaps IS 'Stretches of a market and channel that no copy provably recorded, one row each; those that were filled since are kept, marked.';

COMMENT ON COLUMN store.gaps.had IS 'Why each gatherer''s last run before the gap ended.';

COMMENT ON COLUMN store.gaps.refilled_at IS 'When the exchange''s own list of trades was found complete over the gap, and was taken over. The gap stays a tile of coverage.';

CREATE TABLE store.lines (
    market bigint NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL,
    first_seen timestamp with time zone,
    ended_at timestamp with time zone,
    over boolean DEFAULT false NOT NULL
);

COMMENT ON TABLE store.lines IS 'Time lines of markets that have not taken their small form (store.held): what is asked all the time is asked of these.';

COMMENT ON COLUMN store.lines.seen_at IS 'When the market got its number.';

COMMENT ON COLUMN store.lines.first_seen IS 'Begin of the time line: the later of the market''s opening and the fleet''s first moment.';

COMMENT ON COLUMN store.lines.over IS 'The time line is settled up to its end and no run goes on.';

CREATE VIEW store.market_lines AS
 SELECT m.market,
    m.ticker,
    COALESCE(l.seen_at, h.first_seen) AS seen_at,
        CASE
            WHEN (l.market IS NULL) THEN h.first_seen
            ELSE l.first_seen
        END AS first_seen,
        CASE
            WHEN (l.market IS NULL) THEN h.ended_at
            ELSE l.ended_at
        END AS ended_at,
    COALESCE(l.over, true) AS over,
    (h.claims IS NOT NULL) AS held
   FROM ((store.markets m
     LEFT JOIN store.lines l USING (market))
     LEFT JOIN store.held h USING (market));

COMMENT ON VIEW store.market_lines IS 'Markets with their time lines; held: runs of it are kept in store.held.';

COMMENT ON COLUMN store.market_lines.seen_at IS 'When the market got its number; of one that ended long ago this is forgotten.';

CREATE VIEW store.tiled AS
 SELECT market,
    channel,
    range_agg(tiles) AS tiles
   FROM ( SELECT claims.market,
            claims.channel,
            tstzrange(claims.from_ts, claims.to_ts) AS tiles
           FROM store.claims
        UNION ALL
         SELECT gaps.market,
            gaps.channel,
            tstzrange(gaps.started_at, gaps.ended_at) AS tstzrange
           FROM store.gaps
          WHERE (gaps.healed_at IS NULL)) t
  GROUP BY market, channel;

COMMENT ON VIEW store.tiled IS 'The union of what is claimed and what is listed as a gap: what it covers is sealed.';

CREATE VIEW store.time_lines AS
 SELECT m.market,
    m.ticker,
    c.channel,
    COALESCE(m.first_seen, m.seen_at) AS first_seen,
    m.ended_at,
        CASE
            WHEN c.shared THEN everything.market
            ELSE m.market
        END AS line
   FROM ((store.market_lines m
     CROSS JOIN ( VALUES ('orderbook_delta'::text,false), ('trade'::text,true), ('market_lifecycle_v2'::text,true), ('multivariate_market_lifecycle'::text,true)) c(channel, shared))
     LEFT JOIN store.markets everything ON ((everything.ticker = ''::text)))
  WHERE ((m.ticker <> ''::text) AND
        CASE c.channel
            WHEN 'market_lifecycle_v2'::text THEN (m.ticker !~~ 'KXMVE%'::text)
            WHEN 'multivariate_market_lifecycle'::text THEN (m.ticker ~~ 'KXMVE%'::text)
            WHEN 'orderbook_delta'::text THEN (m.held OR (EXISTS ( SELECT
               FROM store.runs r
              WHERE (r.market = m.market))))
            ELSE true
        END AND ((m.first_seen IS NOT NULL) OR (EXISTS ( SELECT
           FROM store.runs r
          WHERE (r.market = m.market)))));

COMMENT ON VIEW store.time_lines IS 'The time lines of markets, one for each channel.';

CREATE VIEW public.coverage AS
 SELECT t.ticker,
    t.channel,
    t.first_seen,
    COALESCE(( SELECT LEAST(upper(r.r), t.ended_at) AS "least"
           FROM unnest(x.tiles) r(r)
          WHERE ((upper(r.r) > t.first_seen) AND ((lower(r.r) <= t.first_seen) OR (t.channel = 'orderbook_delta'::text)))
          ORDER BY (lower(r.r))
         LIMIT 1), t.first_seen) AS sealed_until,
    t.ended_at
   FROM (store.time_lines t
     LEFT JOIN store.tiled x ON (((x.market = t.line) AND (x.channel = t.channel))));

COMMENT ON VIEW public.coverage IS 'Up to sealed_until, every stretch of the market''s time line is covered or listed in coverage_gaps.';

COMMENT ON COLUMN public.coverage.ticker IS 'The market''s ticker, as the exchange writes it.';

COMMENT ON COLUMN public.coverage.channel IS 'orderbook_delta, trade, market_lifecycle_v2 or multivariate_market_lifecycle.';

COMMENT ON COLUMN public.coverage.first_seen IS 'Begin of the market''s time line: the later of its opening and the fleet''s first moment.';

COMMENT ON COLUMN public.coverage.sealed_until IS 'Up to here every stretch is covered, or listed in coverage_gaps.';

COMMENT ON COLUMN public.coverage.ended_at IS 'End of the time line, once the market is settled; null: it goes on.';

CREATE TABLE store.gatherers (
    gatherer smallint NOT NULL,
    gatherer_id text NOT NULL,
    instance uuid NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE store.gatherers IS 'Instances that were read; a machine rebuilt empty under the same name is another one.';

CREATE VIEW public.coverage_by_gatherer AS
 SELECT t.ticker,
    t.channel,
    g.gatherer_id,
    range_agg(tstzrange(c.from_ts, c.to_ts)) AS held
   FROM ((store.claims c
     JOIN store.time_lines t ON (((t.line = c.market) AND (t.channel = c.channel))))
     JOIN store.gatherers g USING (gatherer))
  GROUP BY t.ticker, t.channel, g.gatherer_id;

COMMENT ON VIEW public.coverage_by_gatherer IS 'The exchange time in which each gatherer provably holds everything.';

COMMENT ON COLUMN public.coverage_by_gatherer.ticker IS 'The market''s ticker, as the exchange writes it.';

COMMENT ON COLUMN public.coverage_by_gatherer.channel IS 'orderbook_delta, trade, market_lifecycle_v2 or multivariate_market_lifecycle.';

COMMENT ON COLUMN public.coverage_by_gatherer.gatherer_id IS 'The gatherer''s name.';

COMMENT ON COLUMN public.coverage_by_gatherer.held IS 'Stretches of exchange time in which this gatherer provably holds everything.';

CREATE VIEW store.beginnings AS
 SELECT t.market,
    t.ticker,
    t.first_seen AS started_at,
    LEAST(tile.begin, t.ended_at) AS ended_at
   FROM (store.time_lines t
     CROSS JOIN LATERAL ( SELECT min(x.begin) AS begin
           FROM ( SELECT c.from_ts
                   FROM store.claims c
                  WHERE ((c.market = t.market) AND (c.channel = t.channel) AND (c.to_ts > t.first_seen))
                UNION ALL
                 SELECT g.started_at
                   FROM store.gaps g
                  WHERE ((g.market = t.market) AND (g.channel = t.channel) AND (g.healed_at IS NULL) AND (g.ended_at > t.first_seen))) x(begin)) tile)
  WHERE ((t.channel = 'orderbook_delta'::text) AND (tile.begin > t.first_seen) AND (t.first_seen < COALESCE(t.ended_at, 'infinity'::timestamp with time zone)));

COMMENT ON VIEW store.beginnings IS 'The first gaps of markets'' order books, before anything is held: they are no rows, and follow from the time line and its first claim or gap.';

CREATE VIEW public.coverage_gaps AS
 SELECT t.ticker,
    g.channel,
    GREATEST(g.started_at, t.first_seen) AS started_at,
    LEAST(g.ended_at, COALESCE(t.ended_at, g.ended_at)) AS ended_at,
    g.reason,
        CASE
            WHEN ((g.channel = 'orderbook_delta'::text) AND (g.reason <> 'before_subscription'::text)) THEN store.book_equal(g.market, g.started_at, g.ended_at)
            ELSE NULL::boolean
        END AS book_equal,
    COALESCE(g.healed_at, g.refilled_at) AS healed_at,
    g.had,
        CASE
            WHEN (g.healed_at IS NOT NULL) THEN 'copy'::text
            WHEN (g.refilled_at IS NOT NULL) THEN 'rest'::text
            ELSE NULL::text
        END AS healed_by
   FROM (store.gaps g
     JOIN store.time_lines t ON (((t.line = g.market) AND (t.channel = g.channel))))
  WHERE ((g.ended_at > t.first_seen) AND (g.started_at < COALESCE(t.ended_at, 'infinity'::timestamp with time zone)))
UNION ALL
 SELECT beginnings.ticker,
    'orderbook_delta'::text AS channel,
    beginnings.started_at,
    beginnings.ended_at,
    'before_subscription'::text AS reason,
    NULL::boolean AS book_equal,
    NULL::timestamp with time zone AS healed_at,
    '{}'::jsonb AS had,
    NULL::text AS healed_by
   FROM store.beginnings;

COMMENT ON VIEW public.coverage_gaps IS 'Stretches of exchange time that no copy provably recorded. healed_at: a late copy covered it after all, or REST listed its trades (healed_by). A market''s first stretch before its first book (before_subscription) follows from coverage, and shrinks if an earlier copy comes.';

COMMENT ON COLUMN public.coverage_gaps.ticker IS 'The market''s ticker, as the exchange writes it.';

COMMENT ON COLUMN public.coverage_gaps.channel IS 'orderbook_delta, trade, market_lifecycle_v2 or multivariate_market_lifecycle.';

COMMENT ON COLUMN public.coverage_gaps.started_at IS 'Begin, exchange time, inclusive.';

COMMENT ON COLUMN public.coverage_gaps.ended_at IS 'End, exclusive.';

COMMENT ON COLUMN public.coverage_gaps.reason IS 'before_subscription, not_recorded, conflict, quarantined, step_back or dropped_unread.';

COMMENT ON COLUMN public.coverage_gaps.book_equal IS 'Whether the books before and after are equal, which proves nothing of what was between; null: not known.';

COMMENT ON COLUMN public.coverage_gaps.healed_at IS 'When a late copy or the exchange''s own list filled it; null: open.';

COMMENT ON COLUMN public.coverage_gaps.had IS 'Why each gatherer''s last run before it ended, by production''s number of the gatherer.';

COMMENT ON COLUMN public.coverage_gaps.healed_by IS 'copy: a gatherer had it after all. rest: the exchange''s list of trades.';

CREATE TABLE public.events (
    ticker text NOT NULL,
    series_ticker text GENERATED ALWAYS AS ((raw ->> 'series_ticker'::text)) STORED,
    title text GENERATED ALWAYS AS ((raw ->> 'title'::text)) STORED,
    sub_title text GENERATED ALWAYS AS ((raw ->> 'sub_title'::text)) STORED,
    strike_date text GENERATED ALWAYS AS ((raw ->> 'strike_date'::text)) STORED,
    strike_period text GENERATED ALWAYS AS ((raw ->> 'strike_period'::text)) STORED,
    updated_at timestamp with time zone NOT NULL,
    raw jsonb NOT NULL
);

COMMENT ON TABLE public.events IS 'Events, as REST lists them; combos included.';

COMMENT ON COLUMN public.events.ticker IS 'The event''s ticker.';

COMMENT ON COLUMN public.events.series_ticker IS 'The series that the event belongs to.';

COMMENT ON COLUMN public.events.title IS 'Its title.';

COMMENT ON COLUMN public.events.sub_title IS 'Its second title.';

COMMENT ON COLUMN public.events.strike_date IS 'Of the event: the date that it is about.';

COMMENT ON COLUMN public.events.strike_period IS 'Of the event: hour, day, week ..., in the exchange''s words.';

COMMENT ON COLUMN public.events.updated_at IS 'When production last took a change of this object over from REST.';

COMMENT ON COLUMN public.events.raw IS 'The whole object as REST gave it.';

CREATE TABLE public.markets (
    ticker text NOT NULL,
    event_ticker text GENERATED ALWAYS AS ((raw ->> 'event_ticker'::text)) STORED,
    market_type text GENERATED ALWAYS AS ((raw ->> 'market_type'::text)) STORED,
    title text GENERATED ALWAYS AS ((raw ->> 'title'::text)) STORED,
    yes_sub_title text GENERATED ALWAYS AS ((raw ->> 'yes_sub_title'::text)) STORED,
    status text GENERATED ALWAYS AS ((raw ->> 'status'::text)) STORED,
    result text GENERATED ALWAYS AS ((raw ->> 'result'::text)) STORED,
    open_time timestamp with time zone,
    close_time timestamp with time zone,
    settlement_ts timestamp with time zone,
    volume_fp numeric GENERATED ALWAYS AS (((raw ->> 'volume_fp'::text))::numeric) STORED,
    updated_at timestamp with time zone NOT NULL,
    raw jsonb NOT NULL
);

COMMENT ON TABLE public.markets IS 'Markets, as REST lists them. market_changes keeps their history.';

COMMENT ON COLUMN public.markets.ticker IS 'The market''s ticker, as the exchange writes it.';

COMMENT ON COLUMN public.markets.event_ticker IS 'The event that the market is an outcome of.';

COMMENT ON COLUMN public.markets.market_type IS 'binary or scalar.';

COMMENT ON COLUMN public.markets.title IS 'Its title.';

COMMENT ON COLUMN public.markets.yes_sub_title IS 'What YES stands for.';

COMMENT ON COLUMN public.markets.status IS 'The exchange''s word: initialized, active, inactive, closed, determined, disputed, amended or finalized.';

COMMENT ON COLUMN public.markets.result IS 'yes, no or scalar once the market is determined; empty before.';

COMMENT ON COLUMN public.markets.open_time IS 'When trading opens or opened.';

COMMENT ON COLUMN public.markets.close_time IS 'When trading ends or ended.';

COMMENT ON COLUMN public.markets.settlement_ts IS 'When it was settled.';

COMMENT ON COLUMN public.markets.volume_fp IS 'Contracts traded, as REST last listed.';

COMMENT ON COLUMN public.markets.updated_at IS 'When production last took a change of this object over from REST.';

COMMENT ON COLUMN public.markets.raw IS 'The whole object as REST gave it.';

CREATE TABLE store.tickers (
    market bigint NOT NULL,
    exchange_ts timestamp with time zone NOT NULL,
    content uuid NOT NULL,
    price integer,
    yes_bid integer,
    yes_ask integer,
    yes_bid_size bigint,
    yes_ask_size bigint,
    volume bigint,
    open_interest bigint,
    received_at timestamp with time zone NOT NULL
)
PARTITION BY RANGE (exchange_ts);

COMMENT ON TABLE store.tickers IS 'Ticker messages, the union of all copies. A partition a day.';

CREATE VIEW public.event_outcomes_latest AS
 SELECT m.event_ticker,
    e.strike_period,
    e.strike_date,
    m.ticker,
    m.yes_sub_title,
    m.status,
    m.result,
    (((l.yes_bid + l.yes_ask))::numeric * 0.00005) AS implied_yes_mid,
    ((l.yes_bid)::numeric * 0.0001) AS yes_bid,
    ((l.yes_ask)::numeric * 0.0001) AS yes_ask,
    ((l.price)::numeric * 0.0001) AS price,
    ((l.volume)::numeric * 0.01) AS volume,
    ((l.open_interest)::numeric * 0.01) AS open_interest,
    l.exchange_ts
   FROM (((public.markets m
     JOIN store.markets n ON ((n.ticker = m.ticker)))
     LEFT JOIN public.events e ON ((e.ticker = m.event_ticker)))
     CROSS JOIN LATERAL ( SELECT t.market,
            t.exchange_ts,
            t.content,
            t.price,
            t.yes_bid,
            t.yes_ask,
            t.yes_bid_size,
            t.yes_ask_size,
            t.volume,
            t.open_interest,
            t.received_at
           FROM store.tickers t
          WHERE (t.market = n.market)
          ORDER BY t.exchange_ts DESC, t.received_at DESC
         LIMIT 1) l);

COMMENT ON VIEW public.event_outcomes_latest IS 'The latest tick of each outcome of an event. Ask for one event_ticker.';

COMMENT ON COLUMN public.event_outcomes_latest.event_ticker IS 'The event that the market is an outcome of.';

COMMENT ON COLUMN public.event_outcomes_latest.strike_period IS 'Of the event: hour, day, week ..., in the exchange''s words.';

COMMENT ON COLUMN public.event_outcomes_latest.strike_date IS 'Of the event: the date that it is about.';

COMMENT ON COLUMN public.event_outcomes_latest.ticker IS 'The market''s ticker, as the exchange writes it.';

COMMENT ON COLUMN public.event_outcomes_latest.yes_sub_title IS 'What YES stands for.';

COMMENT ON COLUMN public.event_outcomes_latest.status IS 'The exchange''s word: initialized, active, inactive, closed, determined, disputed, amended or finalized.';

COMMENT ON COLUMN public.event_outcomes_latest.result IS 'yes, no or scalar once the market is determined; empty before.';

COMMENT ON COLUMN public.event_outcomes_latest.implied_yes_mid IS 'Middle of the best YES bid and ask, in dollars; null if one side is empty.';

COMMENT ON COLUMN public.event_outcomes_latest.yes_bid IS 'Best YES bid, dollars.';

COMMENT ON COLUMN public.event_outcomes_latest.yes_ask IS 'Best YES ask, dollars.';

COMMENT ON COLUMN public.event_outcomes_latest.price IS 'Last price, dollars.';

COMMENT ON COLUMN public.event_outcomes_latest.volume IS 'Contracts traded since the market opened.';

COMMENT ON COLUMN public.event_outcomes_latest.open_interest IS 'Contracts held.';

COMMENT ON COLUMN public.event_outcomes_latest.exchange_ts IS 'Time of the latest tick.';

CREATE VIEW public.event_leader_latest AS
 SELECT DISTINCT ON (event_ticker) event_ticker,
    strike_period,
    strike_date,
    ticker,
    yes_sub_title,
    status,
    result,
    implied_yes_mid,
    yes_bid,
    yes_ask,
    price,
    volume,
    open_interest,
    exchange_ts
   FROM public.event_outcomes_latest
  WHERE (implied_yes_mid IS NOT NULL)
  ORDER BY event_ticker, implied_yes_mid DESC, ticker;

COMMENT ON VIEW public.event_leader_latest IS 'The outcome of an event with the highest implied YES mid. Ask for one event_ticker.';

COMMENT ON COLUMN public.event_leader_latest.event_ticker IS 'The event that the market is an outcome of.';

COMMENT ON COLUMN public.event_leader_latest.strike_period IS 'Of the event: hour, day, week ..., in the exchange''s words.';

COMMENT ON COLUMN public.event_leader_latest.strike_date IS 'Of the event: the date that it is about.';

COMMENT ON COLUMN public.event_leader_latest.ticker IS 'The market''s ticker, as the exchange writes it.';

COMMENT ON COLUMN public.event_leader_latest.yes_sub_title IS 'What YES stands for.';

COMMENT ON COLUMN public.event_leader_latest.status IS 'The exchange''s word: initialized, active, inactive, closed, determined, disputed, amended or finalized.';

COMMENT ON COLUMN public.event_leader_latest.result IS 'yes, no or scalar once the market is determined; empty before.';

COMMENT ON COLUMN public.event_leader_latest.implied_yes_mid IS 'Middle of the best YES bid and ask, in dollars: the greatest of the event.';

COMMENT ON COLUMN public.event_leader_latest.yes_bid IS 'Best YES bid, dollars.';

COMMENT ON COLUMN public.event_leader_latest.yes_ask IS 'Best YES ask, dollars.';

COMMENT ON COLUMN public.event_leader_latest.price IS 'Last price, dollars.';

COMMENT ON COLUMN public.event_leader_latest.volume IS 'Contracts traded since the market opened.';

COMMENT ON COLUMN public.event_leader_latest.open_interest IS 'Contracts held.';

COMMENT ON COLUMN public.event_leader_latest.exchange_ts IS 'Time of the latest tick.';

CREATE TABLE store.lifecycle (
    market bigint NOT NULL,
    event_type text NOT NULL,
    exchange_ts timestamp with time zone,
    payload jsonb NOT NULL,
    content uuid NOT NULL,
    received_at timestamp with time zone NOT NULL,
    stored_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE store.lifecycle IS 'Lifecycle messages; equal content within 30 s is one.';

COMMENT ON COLUMN store.lifecycle.stored_at IS 'When it came here: later than received_at by as much as the gatherer was late.';

CREATE VIEW public.lifecycle_events AS
 SELECT m.ticker,
    l.event_type,
    l.exchange_ts,
    l.payload,
    l.received_at
   FROM (store.lifecycle l
     JOIN store.markets m USING (market));

COMMENT ON VIEW public.lifecycle_events IS 'Lifecycle messages; equal content within 30 s is one event.';

COMMENT ON COLUMN public.lifecycle_events.ticker IS 'The market''s ticker, as the exchange writes it.';

COMMENT ON COLUMN public.lifecycle_events.event_type IS 'created, activated, deactivated, close_date_updated, determined, settled ...';

COMMENT ON COLUMN public.lifecycle_events.exchange_ts IS 'Time that the message gives; null: it gives none.';

COMMENT ON COLUMN public.lifecycle_events.payload IS 'The message.';

COMMENT ON COLUMN public.lifecycle_events.received_at IS 'When the first stored copy was received, by that gatherer''s clock.';

CREATE TABLE public.market_changes (
    ticker text NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    field text NOT NULL,
    old jsonb,
    new jsonb
);

COMMENT ON TABLE public.market_changes IS 'History of the metadata of markets; prices, volumes and updated_time, which change all the time, are left out.';

COMMENT ON COLUMN public.market_changes.ticker IS 'The market''s ticker, as the exchange writes it.';

COMMENT ON COLUMN public.market_changes.seen_at IS 'When production saw the change.';

COMMENT ON COLUMN public.market_changes.field IS 'The field of the market object.';

COMMENT ON COLUMN public.market_changes.old IS 'Its previous value, as JSON; null: it was not there.';

COMMENT ON COLUMN public.market_changes.new IS 'Its new value, as JSON.';

CREATE TABLE store.conflicts (
    conflict bigint NOT NULL,
    kind text NOT NULL,
    market bigint NOT NULL,
    exchange_ts timestamp with time zone,
    versions jsonb NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE store.conflicts IS 'Copies that contradict each other, with all versions.';

CREATE VIEW public.merge_conflicts AS
 SELECT c.conflict,
    c.kind,
    m.ticker,
    c.exchange_ts,
    c.versions,
    c.seen_at
   FROM (store.conflicts c
     JOIN store.markets m USING (market));

COMMENT ON VIEW public.merge_conflicts IS 'Copies that contradict each other, with all versions.';

COMMENT ON COLUMN public.merge_conflicts.conflict IS 'Number of the row.';

COMMENT ON COLUMN public.merge_conflicts.kind IS 'order_disputed, conflict, head, reset_disputed, trade ...';

COMMENT ON COLUMN public.merge_conflicts.ticker IS 'The market''s ticker, as the exchange writes it.';

COMMENT ON COLUMN public.merge_conflicts.exchange_ts IS 'Time of the exchange, whole milliseconds.';

COMMENT ON COLUMN public.merge_conflicts.versions IS 'What each side has, as JSON, in integers of 1e-4 dollar and 1e-2 contract.';

COMMENT ON COLUMN public.merge_conflicts.seen_at IS 'When the merge saw it.';

CREATE TABLE store.deltas (
    market bigint NOT NULL,
    exchange_ts timestamp with time zone NOT NULL,
    ordinal integer NOT NULL,
    exchange_us smallint NOT NULL,
    side smallint NOT NULL,
    price integer NOT NULL,
    delta bigint NOT NULL,
    received_at timestamp with time zone NOT NULL
)
PARTITION BY RANGE (exchange_ts);

COMMENT ON TABLE store.deltas IS 'Every order-book change, once, by its identity: market, exchange millisecond, ordinal. A partition a day.';

CREATE VIEW public.orderbook_deltas AS
 SELECT m.ticker,
    d.exchange_ts,
    d.ordinal,
        CASE d.side
            WHEN 0 THEN 'yes'::text
            ELSE 'no'::text
        END AS side,
    ((d.price)::numeric * 0.0001) AS price,
    ((d.delta)::numeric * 0.01) AS delta,
    NULLIF(d.exchange_us, '-1'::integer) AS exchange_us,
    d.received_at
   FROM (store.deltas d
     JOIN store.markets m USING (market));

COMMENT ON VIEW public.orderbook_deltas IS 'Every order-book change, once, in the exchange''s order: by ticker, exchange_ts, ordinal.';

COMMENT ON COLUMN public.orderbook_deltas.ticker IS 'The market''s ticker, as the exchange writes it.';

COMMENT ON COLUMN public.orderbook_deltas.exchange_ts IS 'Whole milliseconds of the exchange''s clock.';

COMMENT ON COLUMN public.orderbook_deltas.ordinal IS 'Position among all changes of the market in that millisecond, from 0.';

COMMENT ON COLUMN public.orderbook_deltas.side IS 'yes or no; prices of side no are NO prices.';

COMMENT ON COLUMN public.orderbook_deltas.price IS 'Price of the level in dollars; of side no: the NO price.';

COMMENT ON COLUMN public.orderbook_deltas.delta IS 'Signed size added to the level, in contracts.';

COMMENT ON COLUMN public.orderbook_deltas.exchange_us IS 'Microseconds within the millisecond, 0 to 999; null where the exchange sends none.';

COMMENT ON COLUMN public.orderbook_deltas.received_at IS 'When the first stored copy was received, by that gatherer''s clock.';

CREATE TABLE store.rest_books (
    market bigint NOT NULL,
    gatherer smallint NOT NULL,
    requested_at timestamp with time zone NOT NULL,
    taken_at timestamp with time zone NOT NULL,
    agrees smallint NOT NULL,
    yes bigint[] NOT NULL,
    no bigint[] NOT NULL,
    CONSTRAINT rest_books_agrees_check CHECK ((agrees = ANY (ARRAY[0, '-1'::integer])))
);

COMMENT ON TABLE store.rest_books IS 'Books from REST that did not agree, or could not be compared, with the gatherer that asked. They have no place among the changes.';

COMMENT ON COLUMN store.rest_books.agrees IS '0: the folded book was another at every instant of the request; -1: there was none to be compared with.';

COMMENT ON COLUMN store.rest_books.yes IS 'Price, size, price, size ...: units of 1e-4 dollar and 1e-2 contract, best bid first.';

CREATE VIEW store.rest_snapshots AS
 SELECT m.ticker,
    NULL::timestamp with time zone AS exchange_ts,
    NULL::integer AS after_ordinal,
    r.taken_at,
    'rest'::text AS source,
    store.levels(r.yes) AS yes,
    store.levels(r.no) AS no,
        CASE r.agrees
            WHEN 0 THEN false
            ELSE NULL::boolean
        END AS verified,
    false AS is_reset
   FROM (store.rest_books r
     JOIN store.markets m USING (market));

COMMENT ON VIEW store.rest_snapshots IS 'store.rest_books in the form of orderbook_snapshots.';

CREATE TABLE store.snapshots (
    market bigint NOT NULL,
    exchange_ts timestamp with time zone NOT NULL,
    taken_at timestamp with time zone NOT NULL,
    after_ordinal integer NOT NULL,
    is_reset boolean NOT NULL,
    verified boolean,
    source text NOT NULL,
    yes bigint[],
    no bigint[],
    CONSTRAINT snapshots_no_check CHECK ((no <> '{}'::bigint[])),
    CONSTRAINT snapshots_source_check CHECK ((source = ANY (ARRAY['ws'::text, 'rest'::text, 'checkpoint'::text]))),
    CONSTRAINT snapshots_yes_check CHECK ((yes <> '{}'::bigint[]))
);

COMMENT ON TABLE store.snapshots IS 'Books at places among the changes: those that the exchange sent, resets, and checkpoints that were folded here.';

COMMENT ON COLUMN store.snapshots.verified IS 'true: equal to the folded changes; null: nothing to compare with; false: not to be used. A checkpoint with false marks a last change of a day that has left, after which the book is not known.';

COMMENT ON COLUMN store.snapshots.yes IS 'Price, size, price, size ...: units of 1e-4 dollar and 1e-2 contract, best bid first. Null: no level, as of most books that there are.';

CREATE VIEW public.orderbook_snapshots AS
 SELECT m.ticker,
    s.exchange_ts,
    s.after_ordinal,
    s.taken_at,
    s.source,
    store.levels(s.yes) AS yes,
    store.levels(s.no) AS no,
    s.verified,
    s.is_reset
   FROM (store.snapshots s
     JOIN store.markets m USING (market))
UNION ALL
 SELECT rest_snapshots.ticker,
    rest_snapshots.exchange_ts,
    rest_snapshots.after_ordinal,
    rest_snapshots.taken_at,
    rest_snapshots.source,
    rest_snapshots.yes,
    rest_snapshots.no,
    rest_snapshots.verified,
    rest_snapshots.is_reset
   FROM store.rest_snapshots;

COMMENT ON VIEW public.orderbook_snapshots IS 'Books at known places: after all changes up to (exchange_ts, after_ordinal). And books from REST, which carry no place, where they did not agree with the changes or could not be compared.';

COMMENT ON COLUMN public.orderbook_snapshots.ticker IS 'The market''s ticker, as the exchange writes it.';

COMMENT ON COLUMN public.orderbook_snapshots.exchange_ts IS 'The book is that after all changes up to here.';

COMMENT ON COLUMN public.orderbook_snapshots.after_ordinal IS '-1: before every change of that millisecond.';

COMMENT ON COLUMN public.orderbook_snapshots.taken_at IS 'When the snapshot was received; of a checkpoint, when it was folded.';

COMMENT ON COLUMN public.orderbook_snapshots.source IS 'ws: the exchange sent it. checkpoint: folded from changes here, so that book_at need not fold a market''s whole history. rest: asked for every snapshots.interval; no place; kept here only if it did not agree.';

COMMENT ON COLUMN public.orderbook_snapshots.yes IS 'YES bids as [price in dollars, size in contracts], best first.';

COMMENT ON COLUMN public.orderbook_snapshots.no IS 'NO bids, likewise, at NO prices.';

COMMENT ON COLUMN public.orderbook_snapshots.verified IS 'true: equal to the folded changes; false: not; null: there was nothing to compare with.';

COMMENT ON COLUMN public.orderbook_snapshots.is_reset IS 'The exchange replaced the book without changes (a close, a settlement); applies from taken_at on.';

CREATE TABLE store.quarantine (
    gatherer smallint NOT NULL,
    session bigint NOT NULL,
    sid integer NOT NULL,
    seq bigint NOT NULL,
    reason text NOT NULL,
    received_at timestamp with time zone NOT NULL,
    frame bytea NOT NULL
);

COMMENT ON TABLE store.quarantine IS 'Frames that could not become rows, as received.';

CREATE VIEW public.quarantine AS
 SELECT g.gatherer_id,
    q.session,
    q.sid,
    q.seq,
    q.reason,
    q.received_at,
    q.frame
   FROM (store.quarantine q
     JOIN store.gatherers g USING (gatherer));

COMMENT ON VIEW public.quarantine IS 'Frames that could not become rows, as received.';

COMMENT ON COLUMN public.quarantine.gatherer_id IS 'The gatherer''s name.';

COMMENT ON COLUMN public.quarantine.session IS 'The WebSocket connection''s number at that gatherer.';

COMMENT ON COLUMN public.quarantine.sid IS 'The exchange''s number of the subscription within the session.';

COMMENT ON COLUMN public.quarantine.seq IS 'The frame''s number within the subscription.';

COMMENT ON COLUMN public.quarantine.reason IS 'What is wrong with it.';

COMMENT ON COLUMN public.quarantine.received_at IS 'When it was received.';

COMMENT ON COLUMN public.quarantine.frame IS 'The frame, as received.';

CREATE TABLE public.schema_migrations (
    name text NOT NULL,
    digest text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE public.schema_migrations IS 'The migrations that were applied to this database (fleet migrate).';

COMMENT ON COLUMN public.schema_migrations.name IS 'The file, without its ending.';

COMMENT ON COLUMN public.schema_migrations.digest IS 'SHA-256 of the file as it was applied.';

COMMENT ON COLUMN public.schema_migrations.applied_at IS 'When.';

CREATE TABLE public.series (
    ticker text NOT NULL,
    title text GENERATED ALWAYS AS ((raw ->> 'title'::text)) STORED,
    category text GENERATED ALWAYS AS ((raw ->> 'category'::text)) STORED,
    updated_at timestamp with time zone NOT NULL,
    raw jsonb NOT NULL
);

COMMENT ON TABLE public.series IS 'Series, as REST lists them.';

COMMENT ON COLUMN public.series.ticker IS 'The series'' ticker.';

COMMENT ON COLUMN public.series.title IS 'Its title.';

COMMENT ON COLUMN public.series.category IS 'Its category.';

COMMENT ON COLUMN public.series.updated_at IS 'When production last took a change of this object over from REST.';

COMMENT ON COLUMN public.series.raw IS 'The whole object as REST gave it.';

CREATE TABLE store.set_aside (
    kind text NOT NULL,
    key text NOT NULL,
    reason text NOT NULL,
    first_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone NOT NULL,
    tries integer NOT NULL,
    retry_at timestamp with time zone NOT NULL
);

COMMENT ON TABLE store.set_aside IS 'Entries of foreign data that failed alone: tried again from retry_at on, gone once they work. At most 200 of each kind.';

COMMENT ON COLUMN store.set_aside.kind IS 'trade_gap, rest_trade, hour, day, checkpoint, list, metadata_row ...: docs/architecture/deduplicator.md has them all.';

CREATE VIEW public.set_aside AS
 SELECT kind,
    key,
    reason,
    first_at,
    last_at,
    tries,
    retry_at
   FROM store.set_aside;

COMMENT ON VIEW public.set_aside IS 'What the deduplicator could not use, each alone, and why. It tries them again.';

COMMENT ON COLUMN public.set_aside.kind IS 'What it is: a gap of trades, a trade of REST, an hour of the archive, a row of metadata ...';

COMMENT ON COLUMN public.set_aside.key IS 'Which one.';

COMMENT ON COLUMN public.set_aside.reason IS 'Why it failed the last time.';

COMMENT ON COLUMN public.set_aside.first_at IS 'When it failed first.';

COMMENT ON COLUMN public.set_aside.last_at IS 'When it failed last.';

COMMENT ON COLUMN public.set_aside.tries IS 'How often it failed.';

COMMENT ON COLUMN public.set_aside.retry_at IS 'From when on it is tried again.';

CREATE VIEW public.tickers AS
 SELECT m.ticker,
    t.exchange_ts,
    ((t.price)::numeric * 0.0001) AS price,
    ((t.yes_bid)::numeric * 0.0001) AS yes_bid,
    ((t.yes_ask)::numeric * 0.0001) AS yes_ask,
    ((t.yes_bid_size)::numeric * 0.01) AS yes_bid_size,
    ((t.yes_ask_size)::numeric * 0.01) AS yes_ask_size,
    ((t.volume)::numeric * 0.01) AS volume,
    ((t.open_interest)::numeric * 0.01) AS open_interest,
    t.received_at
   FROM (store.tickers t
     JOIN store.markets m USING (market));

COMMENT ON VIEW public.tickers IS 'Ticker messages as a union of all copies. The channel is not numbered: losses cannot be detected.';

COMMENT ON COLUMN public.tickers.ticker IS 'The market''s ticker, as the exchange writes it.';

COMMENT ON COLUMN public.tickers.exchange_ts IS 'Time of the exchange, whole milliseconds.';

COMMENT ON COLUMN public.tickers.price IS 'Last price, dollars.';

COMMENT ON COLUMN public.tickers.yes_bid IS 'Best YES bid, dollars.';

COMMENT ON COLUMN public.tickers.yes_ask IS 'Best YES ask, dollars.';

COMMENT ON COLUMN public.tickers.yes_bid_size IS 'Contracts at the best bid.';

COMMENT ON COLUMN public.tickers.yes_ask_size IS 'Contracts at the best ask.';

COMMENT ON COLUMN public.tickers.volume IS 'Contracts traded since the market opened.';

COMMENT ON COLUMN public.tickers.open_interest IS 'Contracts held.';

COMMENT ON COLUMN public.tickers.received_at IS 'When the first stored copy was received, by that gatherer''s clock.';

CREATE VIEW public.trades AS
 SELECT t.trade_id,
    m.ticker,
    t.exchange_ts,
    t.ordinal,
    ((t.yes_price)::numeric * 0.0001) AS yes_price,
    ((t.count)::numeric * 0.01) AS count,
        CASE t.taker_side
            WHEN 0 THEN 'yes'::text
            ELSE 'no'::text
        END AS taker_side,
    t.is_block,
    t.received_at,
    t.source
   FROM (store.trades t
     JOIN store.markets m USING (market));

COMMENT ON VIEW public.trades IS 'Every trade, once, by trade_id. The exchange''s order is (exchange_ts, ordinal, trade_id), a null ordinal last.';

COMMENT ON COLUMN public.trades.trade_id IS 'The exchange''s number of the trade.';

COMMENT ON COLUMN public.trades.ticker IS 'The market''s ticker, as the exchange writes it.';

COMMENT ON COLUMN public.trades.exchange_ts IS 'Time of the exchange, whole milliseconds.';

COMMENT ON COLUMN public.trades.ordinal IS 'Ordinal of the order-book change that the trade made, in the same millisecond. Null: a block trade, or the change is not recorded.';

COMMENT ON COLUMN public.trades.yes_price IS 'Price of YES in dollars.';

COMMENT ON COLUMN public.trades.count IS 'Contracts.';

COMMENT ON COLUMN public.trades.taker_side IS 'yes or no: what the taker bought.';

COMMENT ON COLUMN public.trades.is_block IS 'Made off the book.';

COMMENT ON COLUMN public.trades.received_at IS 'When the first stored copy was received, by that gatherer''s clock.';

COMMENT ON COLUMN public.trades.source IS 'ws: a gatherer received it. rest: nobody did; it is from the exchange''s list (received_at: when it was read).';

CREATE TABLE store.unplaced (
    gatherer smallint NOT NULL,
    session bigint NOT NULL,
    sid integer NOT NULL,
    seq bigint NOT NULL,
    lane smallint NOT NULL,
    run bigint NOT NULL,
    market bigint NOT NULL,
    exchange_ts timestamp with time zone NOT NULL,
    exchange_us smallint NOT NULL,
    side smallint NOT NULL,
    price integer NOT NULL,
    delta bigint NOT NULL,
    received_at timestamp with time zone NOT NULL,
    judged boolean DEFAULT false NOT NULL
);

COMMENT ON TABLE store.unplaced IS 'Changes whose ordinal is unknown, kept apart until a copy that covers their millisecond decides.';

COMMENT ON COLUMN store.unplaced.judged IS 'It contradicts the copy that covers it (a conflict of kind head): it is not compared again.';

CREATE VIEW public.unplaced_deltas AS
 SELECT g.gatherer_id,
    u.session,
    u.sid,
    u.seq,
    m.ticker,
    u.exchange_ts,
    NULLIF(u.exchange_us, '-1'::integer) AS exchange_us,
        CASE u.side
            WHEN 0 THEN 'yes'::text
            ELSE 'no'::text
        END AS side,
    ((u.price)::numeric * 0.0001) AS price,
    ((u.delta)::numeric * 0.01) AS delta,
    u.received_at,
    'recording began in the middle of its millisecond, and no copy that covers it has confirmed it'::text AS reason
   FROM ((store.unplaced u
     JOIN store.markets m USING (market))
     JOIN store.gatherers g USING (gatherer));

COMMENT ON VIEW public.unplaced_deltas IS 'Changes whose ordinal is unknown. They may repeat stored rows or each other; never guessed into place.';

COMMENT ON COLUMN public.unplaced_deltas.gatherer_id IS 'The gatherer''s name.';

COMMENT ON COLUMN public.unplaced_deltas.session IS 'The WebSocket connection''s number at that gatherer.';

COMMENT ON COLUMN public.unplaced_deltas.sid IS 'The exchange''s number of the subscription within the session.';

COMMENT ON COLUMN public.unplaced_deltas.seq IS 'The frame''s number within the subscription.';

COMMENT ON COLUMN public.unplaced_deltas.ticker IS 'The market''s ticker, as the exchange writes it.';

COMMENT ON COLUMN public.unplaced_deltas.exchange_ts IS 'Time of the exchange, whole milliseconds.';

COMMENT ON COLUMN public.unplaced_deltas.exchange_us IS 'Microseconds within the millisecond; null where the exchange sends none.';

COMMENT ON COLUMN public.unplaced_deltas.side IS 'yes or no; prices of side no are NO prices.';

COMMENT ON COLUMN public.unplaced_deltas.price IS 'Price of the level in dollars.';

COMMENT ON COLUMN public.unplaced_deltas.delta IS 'Signed size, contracts.';

COMMENT ON COLUMN public.unplaced_deltas.received_at IS 'When the first stored copy was received, by that gatherer''s clock.';

COMMENT ON COLUMN public.unplaced_deltas.reason IS 'Why it has no place.';

CREATE TABLE store.accounts (
    gatherer smallint NOT NULL,
    lane smallint NOT NULL,
    from_batch bigint NOT NULL,
    to_batch bigint NOT NULL,
    received bigint NOT NULL,
    inserted bigint NOT NULL,
    confirmed bigint NOT NULL,
    disputed bigint NOT NULL,
    unplaced bigint NOT NULL,
    quarantined bigint NOT NULL,
    stored_at timestamp with time zone DEFAULT now() NOT NULL,
    reading integer DEFAULT 0 NOT NULL,
    CONSTRAINT every_delta_frame_is_accounted_for CHECK ((received = ((((inserted + confirmed) + disputed) + unplaced) + quarantined)))
);

COMMENT ON TABLE store.accounts IS 'What became of every delta frame of every batch; the five add up to received.';

COMMENT ON COLUMN store.accounts.reading IS '0: the first; n: after the lane was put back for the n-th time.';

CREATE TABLE store.batch_digests (
    gatherer smallint NOT NULL,
    lane smallint NOT NULL,
    level smallint NOT NULL,
    slot smallint NOT NULL,
    batch bigint NOT NULL,
    digest bytea NOT NULL
)
WITH (fillfactor='70');

COMMENT ON TABLE store.batch_digests IS 'Digests of batches that were stored, to find the last one that a lane that was put back still has: of every level the newest 64, each level four times as far apart as the one below, so that a lane has a thousand at most.';

CREATE TABLE store.lease (
    only_one boolean DEFAULT true NOT NULL,
    epoch bigint DEFAULT 0 NOT NULL,
    holder text DEFAULT ''::text NOT NULL,
    fleet_started_at timestamp with time zone DEFAULT date_trunc('milliseconds'::text, now()) NOT NULL,
    newest_exchange_ts timestamp with time zone,
    heals bigint DEFAULT 0 NOT NULL,
    healed_rows bigint DEFAULT 0 NOT NULL,
    step bigint DEFAULT 0 NOT NULL,
    CONSTRAINT lease_only_one_check CHECK (only_one)
);

COMMENT ON TABLE store.lease IS 'Who may write: every transaction of the deduplicator begins by locking the row of its epoch.';

COMMENT ON COLUMN store.lease.heals IS 'How often fleet heal has written: a deduplicator that remembers another number makes its state again.';

COMMENT ON COLUMN store.lease.healed_rows IS 'Changes that fleet heal inserted: no account has them.';

COMMENT ON COLUMN store.lease.step IS 'Number of the last transaction that changed merged data.';

CREATE VIEW store.channel_seals AS
 SELECT c.channel,
        CASE
            WHEN (x.market IS NOT NULL) THEN COALESCE(( SELECT upper(r.r) AS upper
               FROM unnest(x.tiles) r(r)
              WHERE ((lower(r.r) <= l.fleet_started_at) AND (upper(r.r) > l.fleet_started_at))), l.fleet_started_at)
            ELSE NULL::timestamp with time zone
        END AS sealed_until
   FROM (((( VALUES ('trade'::text), ('market_lifecycle_v2'::text), ('multivariate_market_lifecycle'::text)) c(channel)
     CROSS JOIN store.lease l)
     LEFT JOIN store.markets everything ON ((everything.ticker = ''::text)))
     LEFT JOIN store.tiled x ON (((x.market = everything.market) AND (x.channel = c.channel))));

COMMENT ON VIEW store.channel_seals IS 'Up to where each channel that carries all markets is covered or listed; null: nobody ever held anything of it.';

ALTER TABLE store.conflicts ALTER COLUMN conflict ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME store.conflicts_conflict_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW store.covered AS
 SELECT market,
    channel,
    range_agg(tstzrange(from_ts, to_ts)) AS held
   FROM store.claims
  GROUP BY market, channel;

COMMENT ON VIEW store.covered IS 'The union of the claims of all gatherers.';

CREATE TABLE store.crawls (
    list text NOT NULL,
    began_at timestamp with time zone NOT NULL,
    cursor text NOT NULL,
    pages bigint NOT NULL,
    rows bigint NOT NULL,
    whole_at timestamp with time zone,
    since timestamp with time zone
);

COMMENT ON TABLE store.crawls IS 'How far each of the exchange''s lists has been read: a reading goes on where it was, also after a restart.';

COMMENT ON COLUMN store.crawls.began_at IS 'When the reading that goes on, or the last one, began.';

COMMENT ON COLUMN store.crawls.cursor IS 'The exchange''s own name of the next page; empty: none is being read.';

COMMENT ON COLUMN store.crawls.whole_at IS 'When the last reading that reached the end of the list began: what it shows is at least as new.';

COMMENT ON COLUMN store.crawls.since IS 'From when on the reading that goes on asks for changes; null: for all.';

CREATE TABLE store.cursors (
    gatherer smallint NOT NULL,
    lane smallint NOT NULL,
    batch bigint NOT NULL,
    digest bytea DEFAULT '\x'::bytea NOT NULL,
    readings integer DEFAULT 0 NOT NULL,
    received_us bigint DEFAULT 0 NOT NULL,
    again_until_us bigint DEFAULT 0 NOT NULL
);

COMMENT ON TABLE store.cursors IS 'The last batch whose rows are here, moved in the transaction that stored them.';

COMMENT ON COLUMN store.cursors.digest IS 'The last batch''s digest; empty: not known.';

COMMENT ON COLUMN store.cursors.readings IS 'How often the lane was put back, and read again from an earlier batch.';

COMMENT ON COLUMN store.cursors.received_us IS 'When the newest of what was read was received at the gatherer.';

COMMENT ON COLUMN store.cursors.again_until_us IS 'What was received up to then was read before the lane was put back: what it is counted in has it already.';

CREATE TABLE store.detached (
    day date NOT NULL,
    detached_at timestamp with time zone DEFAULT now() NOT NULL,
    rows bigint NOT NULL,
    late_rows bigint DEFAULT 0 NOT NULL
);

COMMENT ON TABLE store.detached IS 'Days whose partition of deltas was dropped: the archive has them. Rows that come later wait in late_deltas.';

COMMENT ON COLUMN store.detached.rows IS 'Changes that left with the partition.';

COMMENT ON COLUMN store.detached.late_rows IS 'Changes that came later and left by an export; those that the archive had are counted too.';

CREATE TABLE store.exports (
    hour timestamp with time zone NOT NULL,
    exported_at timestamp with time zone NOT NULL,
    complete boolean NOT NULL,
    unsealed bigint NOT NULL,
    delta_rows bigint,
    step bigint
);

COMMENT ON TABLE store.exports IS 'What the archive holds: a row for each hour that was exported.';

COMMENT ON COLUMN store.exports.complete IS 'Whether every market alive in the hour was sealed past its end.';

COMMENT ON COLUMN store.exports.delta_rows IS 'Changes in the archive''s object of the hour.';

COMMENT ON COLUMN store.exports.step IS 'The step of the snapshot that the archive''s objects of the hour were read from; null: to be exported again.';

CREATE TABLE store.feed (
    step bigint NOT NULL,
    committed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    kind text NOT NULL,
    rows integer NOT NULL,
    from_ms bigint,
    to_ms bigint,
    block bytea
)
PARTITION BY RANGE (step);
ALTER TABLE ONLY store.feed ALTER COLUMN block SET STORAGE EXTERNAL;

COMMENT ON TABLE store.feed IS 'What each transaction changed of merged data, under its step number, without holes. Kept for production.feed.keep.';

COMMENT ON COLUMN store.feed.step IS 'The transaction''s number: one more than that of the row before.';

COMMENT ON COLUMN store.feed.committed_at IS 'When the row was written, as the last of its transaction.';

COMMENT ON COLUMN store.feed.kind IS 'The writer: merge, lines, refill, heal, metadata, archive, retention or history. other: one that writes no block.';

COMMENT ON COLUMN store.feed.rows IS 'Rows of the block, those of its seal apart.';

COMMENT ON COLUMN store.feed.from_ms IS 'The least exchange time of the rows, milliseconds since 1970; null: none of them has one.';

COMMENT ON COLUMN store.feed.to_ms IS 'The greatest exchange time of the rows, inclusive.';

COMMENT ON COLUMN store.feed.block IS 'The rows: Arrow record batches with zstd (docs/formats.md). Null: the change is not in the feed.';

CREATE TABLE store.feed_hours (
    hour timestamp with time zone NOT NULL,
    first_step bigint NOT NULL,
    last_step bigint NOT NULL,
    object text,
    archived_at timestamp with time zone,
    CONSTRAINT feed_hours_check CHECK ((last_step >= (first_step - 1)))
);

COMMENT ON TABLE store.feed_hours IS 'Hours of the feed in the archive, by when their steps were committed; a new one begins with the step after the last of the one before.';

COMMENT ON COLUMN store.feed_hours.last_step IS 'Inclusive; one less than first_step: nothing was committed in the hour.';

COMMENT ON COLUMN store.feed_hours.object IS 'Where the steps are.';

COMMENT ON COLUMN store.feed_hours.archived_at IS 'When the object was there; null: its steps are settled, and it is being written.';

ALTER TABLE store.gaps ALTER COLUMN gap ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME store.gaps_gap_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE store.gatherers ALTER COLUMN gatherer ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME store.gatherers_gatherer_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE store.hours_touched (
    hour timestamp with time zone NOT NULL,
    step bigint NOT NULL
)
WITH (fillfactor='50');

COMMENT ON TABLE store.hours_touched IS 'The last step that changed what an hour of the archive holds. Stale: later than store.exports.step.';

COMMENT ON COLUMN store.hours_touched.hour IS 'Beginning of the hour.';

CREATE TABLE store.lags (
    hour timestamp with time zone NOT NULL,
    gatherer smallint NOT NULL,
    from_ms integer NOT NULL,
    changes bigint NOT NULL,
    least_ms integer NOT NULL,
    most_ms integer NOT NULL
);

COMMENT ON TABLE store.lags IS 'Order-book changes of an exchange hour by how long they took: from_ms (a power of two, 0, or -1 for less than nothing) to less than twice that. Gatherer 0 stands for production.';

COMMENT ON COLUMN store.lags.least_ms IS 'The least and the most of them: a clock that is late shows in what took less than nothing.';

CREATE TABLE store.late_deltas (
    market bigint NOT NULL,
    exchange_ts timestamp with time zone NOT NULL,
    ordinal integer NOT NULL,
    exchange_us smallint NOT NULL,
    side smallint NOT NULL,
    price integer NOT NULL,
    delta bigint NOT NULL,
    received_at timestamp with time zone NOT NULL
);

COMMENT ON TABLE store.late_deltas IS 'Changes of days that are no longer here, until the next export unites them with the archive''s hour.';

ALTER TABLE store.markets ALTER COLUMN market ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME store.markets_market_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE store.put_backs (
    put_back bigint NOT NULL,
    gatherer smallint NOT NULL,
    lane smallint NOT NULL,
    read_to bigint NOT NULL,
    last_batch bigint NOT NULL,
    read_again bigint NOT NULL,
    reason text NOT NULL,
    found_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE store.put_backs IS 'Lanes whose database was put back: how far it had been read, what it had left, and after which batch it is read again.';

ALTER TABLE store.put_backs ALTER COLUMN put_back ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME store.put_backs_put_back_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE store.refills (
    gap bigint NOT NULL,
    tried_at timestamp with time zone NOT NULL,
    tries integer NOT NULL,
    from_ts timestamp with time zone NOT NULL,
    to_ts timestamp with time zone NOT NULL,
    listed bigint NOT NULL,
    known bigint NOT NULL,
    inserted bigint NOT NULL,
    outside bigint NOT NULL,
    not_listed bigint NOT NULL,
    inserted_at timestamp with time zone,
    unread bigint DEFAULT 0 NOT NULL
);

COMMENT ON TABLE store.refills IS 'What REST listed over a gap of the trade channel and an hour on both sides.';

COMMENT ON COLUMN store.refills.listed IS 'Trades that REST listed in the window.';

COMMENT ON COLUMN store.refills.known IS 'Of these, trades that a gatherer had recorded: the proof that the list is what was sent.';

COMMENT ON COLUMN store.refills.inserted IS 'Trades that no gatherer had, over all tries.';

COMMENT ON COLUMN store.refills.outside IS 'Of the inserted, those that a gatherer claims to have: contradictions of coverage.';

COMMENT ON COLUMN store.refills.not_listed IS 'Recorded trades of the window that REST did not list; while there is one, the gap is not refilled.';

COMMENT ON COLUMN store.refills.inserted_at IS 'When a try last brought trades that no gatherer had.';

COMMENT ON COLUMN store.refills.unread IS 'Listed trades that cannot be read and that nobody recorded, in the gap or at no known time; while there is one, the gap is not refilled.';

CREATE TABLE store.reset_votes (
    market bigint NOT NULL,
    gatherer smallint NOT NULL,
    exchange_ts timestamp with time zone NOT NULL,
    after_ordinal integer NOT NULL,
    taken_at timestamp with time zone NOT NULL,
    voted_at timestamp with time zone DEFAULT now() NOT NULL,
    yes bigint[] NOT NULL,
    no bigint[] NOT NULL
);

COMMENT ON TABLE store.reset_votes IS 'Snapshots that disagree with an unbroken run, until it is known of all copies whether they saw the same.';

CREATE TABLE store.unknown_fields (
    gatherer smallint NOT NULL,
    field text NOT NULL,
    first_seen timestamp with time zone NOT NULL,
    last_seen timestamp with time zone NOT NULL
);

COMMENT ON TABLE store.unknown_fields IS 'Fields (TYPE.FIELD) that the exchange sends and no row keeps; the journals have them. A loader reports each once.';

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (ticker);

ALTER TABLE ONLY public.markets
    ADD CONSTRAINT markets_pkey PRIMARY KEY (ticker);

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.series
    ADD CONSTRAINT series_pkey PRIMARY KEY (ticker);

ALTER TABLE ONLY store.accounts
    ADD CONSTRAINT accounts_pkey PRIMARY KEY (gatherer, lane, reading, from_batch);

ALTER TABLE ONLY store.batch_digests
    ADD CONSTRAINT batch_digests_pkey PRIMARY KEY (gatherer, lane, level, slot);

ALTER TABLE ONLY store.checks
    ADD CONSTRAINT checks_pkey PRIMARY KEY (hour, check_name);

ALTER TABLE ONLY store.conflicts
    ADD CONSTRAINT conflicts_pkey PRIMARY KEY (conflict);

ALTER TABLE ONLY store.crawls
    ADD CONSTRAINT crawls_pkey PRIMARY KEY (list);

ALTER TABLE ONLY store.cursors
    ADD CONSTRAINT cursors_pkey PRIMARY KEY (gatherer, lane);

ALTER TABLE ONLY store.detached
    ADD CONSTRAINT detached_pkey PRIMARY KEY (day);

ALTER TABLE ONLY store.exports
    ADD CONSTRAINT exports_pkey PRIMARY KEY (hour);

ALTER TABLE ONLY store.feed_hours
    ADD CONSTRAINT feed_hours_pkey PRIMARY KEY (hour);

ALTER TABLE ONLY store.feed
    ADD CONSTRAINT feed_pkey PRIMARY KEY (step);

ALTER TABLE ONLY store.gaps
    ADD CONSTRAINT gaps_pkey PRIMARY KEY (gap);

ALTER TABLE ONLY store.gatherers
    ADD CONSTRAINT gatherers_instance_key UNIQUE (instance);

ALTER TABLE ONLY store.gatherers
    ADD CONSTRAINT gatherers_pkey PRIMARY KEY (gatherer);

ALTER TABLE ONLY store.held
    ADD CONSTRAINT held_pkey PRIMARY KEY (market) WITH (fillfactor='100');

ALTER TABLE ONLY store.hours_touched
    ADD CONSTRAINT hours_touched_pkey PRIMARY KEY (hour);

ALTER TABLE ONLY store.lags
    ADD CONSTRAINT lags_pkey PRIMARY KEY (hour, gatherer, from_ms);

ALTER TABLE ONLY store.late_deltas
    ADD CONSTRAINT late_deltas_pkey PRIMARY KEY (market, exchange_ts, ordinal);

ALTER TABLE ONLY store.lease
    ADD CONSTRAINT lease_pkey PRIMARY KEY (only_one);

ALTER TABLE ONLY store.lines
    ADD CONSTRAINT lines_pkey PRIMARY KEY (market);

ALTER TABLE ONLY store.markets
    ADD CONSTRAINT markets_pkey PRIMARY KEY (market) WITH (fillfactor='100');

ALTER TABLE ONLY store.markets
    ADD CONSTRAINT markets_ticker_key UNIQUE (ticker);

ALTER TABLE ONLY store.put_backs
    ADD CONSTRAINT put_backs_pkey PRIMARY KEY (put_back);

ALTER TABLE ONLY store.refills
    ADD CONSTRAINT refills_pkey PRIMARY KEY (gap);

ALTER TABLE ONLY store.reset_votes
    ADD CONSTRAINT reset_votes_pkey PRIMARY KEY (market, gatherer, exchange_ts, after_ordinal, taken_at);

ALTER TABLE ONLY store.rest_candles
    ADD CONSTRAINT rest_candles_pkey PRIMARY KEY (ticker, period_minutes, end_ts);

ALTER TABLE ONLY store.run_parts
    ADD CONSTRAINT run_parts_pkey PRIMARY KEY (gatherer, lane, run, from_ts);

ALTER TABLE ONLY store.runs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (gatherer, lane, run);

ALTER TABLE ONLY store.set_aside
    ADD CONSTRAINT set_aside_pkey PRIMARY KEY (kind, key);

ALTER TABLE ONLY store.slices
    ADD CONSTRAINT slices_pkey PRIMARY KEY (gatherer, lane, slice);

ALTER TABLE ONLY store.unknown_fields
    ADD CONSTRAINT unknown_fields_pkey PRIMARY KEY (gatherer, field);

ALTER TABLE ONLY store.unplaced
    ADD CONSTRAINT unplaced_pkey PRIMARY KEY (gatherer, session, sid, seq, run);

CREATE INDEX market_changes_ticker_seen_at_idx ON public.market_changes USING btree (ticker, seen_at);

CREATE INDEX markets_event_ticker_idx ON public.markets USING btree (event_ticker);

CREATE INDEX markets_updated_at_idx ON public.markets USING btree (updated_at);

CREATE INDEX conflicts_market_exchange_ts_idx ON store.conflicts USING btree (market, exchange_ts);

CREATE UNIQUE INDEX deltas_identity ON ONLY store.deltas USING btree (market, exchange_ts, ordinal);

CREATE INDEX deltas_time ON ONLY store.deltas USING brin (exchange_ts) WITH (autosummarize='on');

CREATE INDEX gaps_market_channel_started_at_idx ON store.gaps USING btree (market, channel, started_at);

CREATE INDEX held_ends ON store.held USING brin (ended_at) WITH (autosummarize='on');

CREATE INDEX late_deltas_exchange_ts_idx ON store.late_deltas USING btree (exchange_ts);

CREATE INDEX lifecycle_content_received_at_idx ON store.lifecycle USING btree (content, received_at);

CREATE INDEX lifecycle_end_of ON store.lifecycle USING btree (market) WHERE (event_type = ANY (ARRAY['determined'::text, 'settled'::text]));

CREATE INDEX lifecycle_ends ON store.lifecycle USING btree (stored_at) WHERE (event_type = ANY (ARRAY['determined'::text, 'settled'::text, 'activated'::text]));

CREATE INDEX lifecycle_market_received_at_idx ON store.lifecycle USING btree (market, received_at);

CREATE INDEX lines_not_over ON store.lines USING btree (market) WHERE (NOT over);

CREATE INDEX lines_seen_at_idx ON store.lines USING btree (seen_at);

CREATE INDEX quarantine_gatherer_session_sid_seq_idx ON store.quarantine USING btree (gatherer, session, sid, seq);

CREATE INDEX rest_books_market_taken_at_idx ON store.rest_books USING btree (market, taken_at);

CREATE INDEX rest_books_time ON store.rest_books USING brin (taken_at) WITH (autosummarize='on');

CREATE INDEX retractions_market_idx ON store.retractions USING btree (market);

CREATE INDEX run_parts_market_idx ON store.run_parts USING btree (market);

CREATE INDEX runs_excluded ON store.runs USING btree (market) WHERE excluded;

CREATE INDEX runs_gatherer_lane_slice_idx ON store.runs USING btree (gatherer, lane, slice) WHERE (NOT ended);

CREATE INDEX runs_market_idx ON store.runs USING btree (market);

CREATE INDEX runs_open ON store.runs USING btree (market) WHERE ((NOT ended) AND (cover_from IS NOT NULL));

CREATE INDEX snapshots_checkpoints ON store.snapshots USING btree (exchange_ts) WHERE (source = 'checkpoint'::text);

CREATE UNIQUE INDEX snapshots_place ON store.snapshots USING btree (market, exchange_ts, after_ordinal, is_reset, ((source = 'checkpoint'::text)));

CREATE INDEX snapshots_resets ON store.snapshots USING btree (taken_at) WHERE is_reset;

CREATE INDEX snapshots_resets_of ON store.snapshots USING btree (market, exchange_ts, after_ordinal) WHERE is_reset;

CREATE INDEX snapshots_time ON store.snapshots USING brin (exchange_ts timestamptz_minmax_multi_ops) WITH (autosummarize='on');

CREATE INDEX snapshots_unknown ON store.snapshots USING btree (market) WHERE ((source = 'checkpoint'::text) AND (verified IS FALSE));

CREATE UNIQUE INDEX tickers_identity ON ONLY store.tickers USING btree (market, exchange_ts, content);

CREATE UNIQUE INDEX trades_identity ON ONLY store.trades USING btree (trade_id, exchange_ts);

CREATE INDEX trades_market ON ONLY store.trades USING btree (market, exchange_ts);

CREATE INDEX trades_time ON ONLY store.trades USING btree (exchange_ts);

CREATE INDEX unplaced_market_exchange_ts_idx ON store.unplaced USING btree (market, exchange_ts);

CREATE TRIGGER note_change AFTER UPDATE ON public.markets FOR EACH ROW WHEN ((old.raw IS DISTINCT FROM new.raw)) EXECUTE FUNCTION store.note_market_change();

CREATE TRIGGER step_insert AFTER INSERT ON public.events REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.number_change();

CREATE TRIGGER step_insert AFTER INSERT ON public.markets REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.number_change();

CREATE TRIGGER step_insert AFTER INSERT ON public.series REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.number_change();

CREATE TRIGGER step_update AFTER UPDATE ON public.events REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.number_change();

CREATE TRIGGER step_update AFTER UPDATE ON public.markets REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.number_change();

CREATE TRIGGER step_update AFTER UPDATE ON public.series REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.number_change();

CREATE TRIGGER begin_lines AFTER INSERT ON store.markets REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION store.begin_lines();

CREATE CONSTRAINT TRIGGER feed_is_complete AFTER UPDATE ON store.lease DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((old.step IS DISTINCT FROM new.step)) EXECUTE FUNCTION store.complete_feed();

CREATE TRIGGER touch_delete_old AFTER DELETE ON store.deltas REFERENCING OLD TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_deltas();

CREATE TRIGGER touch_delete_old AFTER DELETE ON store.gaps REFERENCING OLD TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_gaps();

CREATE TRIGGER touch_delete_old AFTER DELETE ON store.lifecycle REFERENCING OLD TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_lifecycle();

CREATE TRIGGER touch_delete_old AFTER DELETE ON store.rest_books REFERENCING OLD TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_rest_books();

CREATE TRIGGER touch_delete_old AFTER DELETE ON store.snapshots REFERENCING OLD TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_snapshots();

CREATE TRIGGER touch_delete_old AFTER DELETE ON store.tickers REFERENCING OLD TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_tickers();

CREATE TRIGGER touch_delete_old AFTER DELETE ON store.trades REFERENCING OLD TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_trades();

CREATE TRIGGER touch_delete_old AFTER DELETE ON store.unplaced REFERENCING OLD TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_unplaced();

CREATE TRIGGER touch_insert_new AFTER INSERT ON store.deltas REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_deltas();

CREATE TRIGGER touch_insert_new AFTER INSERT ON store.gaps REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_gaps();

CREATE TRIGGER touch_insert_new AFTER INSERT ON store.late_deltas REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_late_deltas();

CREATE TRIGGER touch_insert_new AFTER INSERT ON store.lifecycle REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_lifecycle();

CREATE TRIGGER touch_insert_new AFTER INSERT ON store.rest_books REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_rest_books();

CREATE TRIGGER touch_insert_new AFTER INSERT ON store.retractions REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_retractions();

CREATE TRIGGER touch_insert_new AFTER INSERT ON store.runs REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_runs();

CREATE TRIGGER touch_insert_new AFTER INSERT ON store.snapshots REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_snapshots();

CREATE TRIGGER touch_insert_new AFTER INSERT ON store.tickers REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_tickers();

CREATE TRIGGER touch_insert_new AFTER INSERT ON store.trades REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_trades();

CREATE TRIGGER touch_insert_new AFTER INSERT ON store.unplaced REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_unplaced();

CREATE TRIGGER touch_update AFTER UPDATE ON store.lines REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_lines();

CREATE TRIGGER touch_update_new AFTER UPDATE ON store.deltas REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_deltas();

CREATE TRIGGER touch_update_new AFTER UPDATE ON store.gaps REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_gaps();

CREATE TRIGGER touch_update_new AFTER UPDATE ON store.late_deltas REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_late_deltas();

CREATE TRIGGER touch_update_new AFTER UPDATE ON store.lifecycle REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_lifecycle();

CREATE TRIGGER touch_update_new AFTER UPDATE ON store.rest_books REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_rest_books();

CREATE TRIGGER touch_update_new AFTER UPDATE ON store.runs REFERENCING OLD TABLE AS old_rows NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_runs();

CREATE TRIGGER touch_update_new AFTER UPDATE ON store.snapshots REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_snapshots();

CREATE TRIGGER touch_update_new AFTER UPDATE ON store.tickers REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_tickers();

CREATE TRIGGER touch_update_new AFTER UPDATE ON store.trades REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_trades();

CREATE TRIGGER touch_update_new AFTER UPDATE ON store.unplaced REFERENCING NEW TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_unplaced();

CREATE TRIGGER touch_update_old AFTER UPDATE ON store.deltas REFERENCING OLD TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_deltas();

CREATE TRIGGER touch_update_old AFTER UPDATE ON store.gaps REFERENCING OLD TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_gaps();

CREATE TRIGGER touch_update_old AFTER UPDATE ON store.late_deltas REFERENCING OLD TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_late_deltas();

CREATE TRIGGER touch_update_old AFTER UPDATE ON store.lifecycle REFERENCING OLD TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_lifecycle();

CREATE TRIGGER touch_update_old AFTER UPDATE ON store.rest_books REFERENCING OLD TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_rest_books();

CREATE TRIGGER touch_update_old AFTER UPDATE ON store.snapshots REFERENCING OLD TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_snapshots();

CREATE TRIGGER touch_update_old AFTER UPDATE ON store.tickers REFERENCING OLD TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_tickers();

CREATE TRIGGER touch_update_old AFTER UPDATE ON store.trades REFERENCING OLD TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_trades();

CREATE TRIGGER touch_update_old AFTER UPDATE ON store.unplaced REFERENCING OLD TABLE AS touched_rows FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_unplaced();

ALTER TABLE ONLY store.accounts
    ADD CONSTRAINT accounts_gatherer_fkey FOREIGN KEY (gatherer) REFERENCES store.gatherers(gatherer);

ALTER TABLE ONLY store.batch_digests
    ADD CONSTRAINT batch_digests_gatherer_fkey FOREIGN KEY (gatherer) REFERENCES store.gatherers(gatherer);

ALTER TABLE ONLY store.cursors
    ADD CONSTRAINT cursors_gatherer_fkey FOREIGN KEY (gatherer) REFERENCES store.gatherers(gatherer);

ALTER TABLE ONLY store.put_backs
    ADD CONSTRAINT put_backs_gatherer_fkey FOREIGN KEY (gatherer) REFERENCES store.gatherers(gatherer);

ALTER TABLE ONLY store.quarantine
    ADD CONSTRAINT quarantine_gatherer_fkey FOREIGN KEY (gatherer) REFERENCES store.gatherers(gatherer);

ALTER TABLE ONLY store.refills
    ADD CONSTRAINT refills_gap_fkey FOREIGN KEY (gap) REFERENCES store.gaps(gap);

ALTER TABLE ONLY store.rest_books
    ADD CONSTRAINT rest_books_gatherer_fkey FOREIGN KEY (gatherer) REFERENCES store.gatherers(gatherer);

ALTER TABLE ONLY store.retractions
    ADD CONSTRAINT retractions_gatherer_fkey FOREIGN KEY (gatherer) REFERENCES store.gatherers(gatherer);

ALTER TABLE ONLY store.run_parts
    ADD CONSTRAINT run_parts_gatherer_fkey FOREIGN KEY (gatherer) REFERENCES store.gatherers(gatherer);

ALTER TABLE ONLY store.runs
    ADD CONSTRAINT runs_gatherer_fkey FOREIGN KEY (gatherer) REFERENCES store.gatherers(gatherer);

ALTER TABLE ONLY store.slices
    ADD CONSTRAINT slices_gatherer_fkey FOREIGN KEY (gatherer) REFERENCES store.gatherers(gatherer);

ALTER TABLE ONLY store.unknown_fields
    ADD CONSTRAINT unknown_fields_gatherer_fkey FOREIGN KEY (gatherer) REFERENCES store.gatherers(gatherer);

ALTER TABLE ONLY store.unplaced
    ADD CONSTRAINT unplaced_gatherer_fkey FOREIGN KEY (gatherer) REFERENCES store.gatherers(gatherer);

GRANT USAGE ON SCHEMA public TO kalshi_analyst;
GRANT USAGE ON SCHEMA public TO kalshi_reader;
GRANT USAGE ON SCHEMA public TO kalshi_writer;

GRANT USAGE ON SCHEMA store TO kalshi_analyst;
GRANT USAGE ON SCHEMA store TO kalshi_reader;
GRANT USAGE ON SCHEMA store TO kalshi_writer;

REVOKE ALL ON FUNCTION store.add_day(parent text, day date) FROM PUBLIC;
GRANT ALL ON FUNCTION store.add_day(parent text, day date) TO kalshi_writer;

REVOKE ALL ON FUNCTION store.checkpoint(of_market bigint, before timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION store.checkpoint(of_market bigint, before timestamp with time zone) TO kalshi_writer;

REVOKE ALL ON FUNCTION store.checkpoint_at(of_market bigint, place timestamp with time zone, ordinal integer) FROM PUBLIC;
GRANT ALL ON FUNCTION store.checkpoint_at(of_market bigint, place timestamp with time zone, ordinal integer) TO kalshi_writer;

REVOKE ALL ON FUNCTION store.complete_feed() FROM PUBLIC;

REVOKE ALL ON FUNCTION store.drop_day(day date) FROM PUBLIC;
GRANT ALL ON FUNCTION store.drop_day(day date) TO kalshi_writer;

REVOKE ALL ON FUNCTION store.drop_feed(keep interval, archived boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION store.drop_feed(keep interval, archived boolean) TO kalshi_writer;

REVOKE ALL ON FUNCTION store.give_ordinals(of_markets bigint[], at_times timestamp with time zone[]) FROM PUBLIC;
GRANT ALL ON FUNCTION store.give_ordinals(of_markets bigint[], at_times timestamp with time zone[]) TO kalshi_writer;

REVOKE ALL ON FUNCTION store.place_trades(of_markets bigint[], at_times timestamp with time zone[]) FROM PUBLIC;
GRANT ALL ON FUNCTION store.place_trades(of_markets bigint[], at_times timestamp with time zone[]) TO kalshi_writer;

REVOKE ALL ON FUNCTION store.put_feed(kind text, rows integer, from_ms bigint, to_ms bigint, block bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION store.put_feed(kind text, rows integer, from_ms bigint, to_ms bigint, block bytea) TO kalshi_writer;

REVOKE ALL ON FUNCTION store.write_feed(of_step bigint, kind text, rows integer, from_ms bigint, to_ms bigint, block bytea) FROM PUBLIC;

GRANT SELECT ON TABLE store.markets TO kalshi_analyst;
GRANT SELECT ON TABLE store.markets TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.markets TO kalshi_writer;

GRANT SELECT ON TABLE store.rest_candles TO kalshi_analyst;
GRANT SELECT ON TABLE store.rest_candles TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.rest_candles TO kalshi_writer;

GRANT SELECT ON TABLE store.trades TO kalshi_analyst;
GRANT SELECT ON TABLE store.trades TO kalshi_reader;
GRANT SELECT,INSERT,UPDATE ON TABLE store.trades TO kalshi_writer;

GRANT SELECT ON TABLE public.candlesticks TO kalshi_analyst;
GRANT SELECT ON TABLE public.candlesticks TO kalshi_reader;
GRANT SELECT ON TABLE public.candlesticks TO kalshi_writer;

GRANT SELECT ON TABLE store.checks TO kalshi_analyst;
GRANT SELECT ON TABLE store.checks TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.checks TO kalshi_writer;

GRANT SELECT ON TABLE public.checks TO kalshi_analyst;
GRANT SELECT ON TABLE public.checks TO kalshi_reader;
GRANT SELECT ON TABLE public.checks TO kalshi_writer;

GRANT SELECT ON TABLE store.held TO kalshi_analyst;
GRANT SELECT ON TABLE store.held TO kalshi_reader;
GRANT SELECT,INSERT,UPDATE ON TABLE store.held TO kalshi_writer;

GRANT SELECT ON TABLE store.run_parts TO kalshi_analyst;
GRANT SELECT ON TABLE store.run_parts TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.run_parts TO kalshi_writer;

GRANT SELECT ON TABLE store.parts TO kalshi_analyst;
GRANT SELECT ON TABLE store.parts TO kalshi_reader;
GRANT SELECT ON TABLE store.parts TO kalshi_writer;

GRANT SELECT ON TABLE store.retractions TO kalshi_analyst;
GRANT SELECT ON TABLE store.retractions TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.retractions TO kalshi_writer;

GRANT SELECT ON TABLE store.runs TO kalshi_analyst;
GRANT SELECT ON TABLE store.runs TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.runs TO kalshi_writer;

GRANT SELECT ON TABLE store.slices TO kalshi_analyst;
GRANT SELECT ON TABLE store.slices TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.slices TO kalshi_writer;

GRANT SELECT ON TABLE store.claims TO kalshi_analyst;
GRANT SELECT ON TABLE store.claims TO kalshi_reader;
GRANT SELECT ON TABLE store.claims TO kalshi_writer;

GRANT SELECT ON TABLE store.gaps TO kalshi_analyst;
GRANT SELECT ON TABLE store.gaps TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.gaps TO kalshi_writer;

GRANT SELECT ON TABLE store.lines TO kalshi_analyst;
GRANT SELECT ON TABLE store.lines TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.lines TO kalshi_writer;

GRANT SELECT ON TABLE store.market_lines TO kalshi_analyst;
GRANT SELECT ON TABLE store.market_lines TO kalshi_reader;
GRANT SELECT ON TABLE store.market_lines TO kalshi_writer;

GRANT SELECT ON TABLE store.tiled TO kalshi_analyst;
GRANT SELECT ON TABLE store.tiled TO kalshi_reader;
GRANT SELECT ON TABLE store.tiled TO kalshi_writer;

GRANT SELECT ON TABLE store.time_lines TO kalshi_analyst;
GRANT SELECT ON TABLE store.time_lines TO kalshi_reader;
GRANT SELECT ON TABLE store.time_lines TO kalshi_writer;

GRANT SELECT ON TABLE public.coverage TO kalshi_analyst;
GRANT SELECT ON TABLE public.coverage TO kalshi_reader;
GRANT SELECT ON TABLE public.coverage TO kalshi_writer;

GRANT SELECT ON TABLE store.gatherers TO kalshi_analyst;
GRANT SELECT ON TABLE store.gatherers TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.gatherers TO kalshi_writer;

GRANT SELECT ON TABLE public.coverage_by_gatherer TO kalshi_analyst;
GRANT SELECT ON TABLE public.coverage_by_gatherer TO kalshi_reader;
GRANT SELECT ON TABLE public.coverage_by_gatherer TO kalshi_writer;

GRANT SELECT ON TABLE store.beginnings TO kalshi_analyst;
GRANT SELECT ON TABLE store.beginnings TO kalshi_reader;
GRANT SELECT ON TABLE store.beginnings TO kalshi_writer;

GRANT SELECT ON TABLE public.coverage_gaps TO kalshi_analyst;
GRANT SELECT ON TABLE public.coverage_gaps TO kalshi_reader;
GRANT SELECT ON TABLE public.coverage_gaps TO kalshi_writer;

GRANT SELECT ON TABLE public.events TO kalshi_analyst;
GRANT SELECT ON TABLE public.events TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.events TO kalshi_writer;

GRANT SELECT ON TABLE public.markets TO kalshi_analyst;
GRANT SELECT ON TABLE public.markets TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.markets TO kalshi_writer;

GRANT SELECT ON TABLE store.tickers TO kalshi_analyst;
GRANT SELECT ON TABLE store.tickers TO kalshi_reader;
GRANT SELECT,INSERT ON TABLE store.tickers TO kalshi_writer;

GRANT SELECT ON TABLE public.event_outcomes_latest TO kalshi_analyst;
GRANT SELECT ON TABLE public.event_outcomes_latest TO kalshi_reader;
GRANT SELECT ON TABLE public.event_outcomes_latest TO kalshi_writer;

GRANT SELECT ON TABLE public.event_leader_latest TO kalshi_analyst;
GRANT SELECT ON TABLE public.event_leader_latest TO kalshi_reader;
GRANT SELECT ON TABLE public.event_leader_latest TO kalshi_writer;

GRANT SELECT ON TABLE store.lifecycle TO kalshi_analyst;
GRANT SELECT ON TABLE store.lifecycle TO kalshi_reader;
GRANT SELECT,INSERT ON TABLE store.lifecycle TO kalshi_writer;

GRANT SELECT ON TABLE public.lifecycle_events TO kalshi_analyst;
GRANT SELECT ON TABLE public.lifecycle_events TO kalshi_reader;
GRANT SELECT ON TABLE public.lifecycle_events TO kalshi_writer;

GRANT SELECT ON TABLE public.market_changes TO kalshi_analyst;
GRANT SELECT ON TABLE public.market_changes TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.market_changes TO kalshi_writer;

GRANT SELECT ON TABLE store.conflicts TO kalshi_analyst;
GRANT SELECT ON TABLE store.conflicts TO kalshi_reader;
GRANT SELECT,INSERT,UPDATE ON TABLE store.conflicts TO kalshi_writer;

GRANT SELECT ON TABLE public.merge_conflicts TO kalshi_analyst;
GRANT SELECT ON TABLE public.merge_conflicts TO kalshi_reader;
GRANT SELECT ON TABLE public.merge_conflicts TO kalshi_writer;

GRANT SELECT ON TABLE store.deltas TO kalshi_analyst;
GRANT SELECT ON TABLE store.deltas TO kalshi_reader;
GRANT SELECT,INSERT ON TABLE store.deltas TO kalshi_writer;

GRANT SELECT ON TABLE public.orderbook_deltas TO kalshi_analyst;
GRANT SELECT ON TABLE public.orderbook_deltas TO kalshi_reader;
GRANT SELECT ON TABLE public.orderbook_deltas TO kalshi_writer;

GRANT SELECT ON TABLE store.rest_books TO kalshi_analyst;
GRANT SELECT ON TABLE store.rest_books TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.rest_books TO kalshi_writer;

GRANT SELECT ON TABLE store.rest_snapshots TO kalshi_analyst;
GRANT SELECT ON TABLE store.rest_snapshots TO kalshi_reader;
GRANT SELECT ON TABLE store.rest_snapshots TO kalshi_writer;

GRANT SELECT ON TABLE store.snapshots TO kalshi_analyst;
GRANT SELECT ON TABLE store.snapshots TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.snapshots TO kalshi_writer;

GRANT SELECT ON TABLE public.orderbook_snapshots TO kalshi_analyst;
GRANT SELECT ON TABLE public.orderbook_snapshots TO kalshi_reader;
GRANT SELECT ON TABLE public.orderbook_snapshots TO kalshi_writer;

GRANT SELECT ON TABLE store.quarantine TO kalshi_reader;
GRANT SELECT,INSERT,UPDATE ON TABLE store.quarantine TO kalshi_writer;

GRANT SELECT ON TABLE public.quarantine TO kalshi_reader;
GRANT SELECT ON TABLE public.quarantine TO kalshi_writer;

GRANT SELECT ON TABLE public.schema_migrations TO kalshi_analyst;
GRANT SELECT ON TABLE public.schema_migrations TO kalshi_reader;
GRANT SELECT ON TABLE public.schema_migrations TO kalshi_writer;

GRANT SELECT ON TABLE public.series TO kalshi_analyst;
GRANT SELECT ON TABLE public.series TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.series TO kalshi_writer;

GRANT SELECT ON TABLE store.set_aside TO kalshi_analyst;
GRANT SELECT ON TABLE store.set_aside TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.set_aside TO kalshi_writer;

GRANT SELECT ON TABLE public.set_aside TO kalshi_analyst;
GRANT SELECT ON TABLE public.set_aside TO kalshi_reader;
GRANT SELECT ON TABLE public.set_aside TO kalshi_writer;

GRANT SELECT ON TABLE public.tickers TO kalshi_analyst;
GRANT SELECT ON TABLE public.tickers TO kalshi_reader;
GRANT SELECT ON TABLE public.tickers TO kalshi_writer;

GRANT SELECT ON TABLE public.trades TO kalshi_analyst;
GRANT SELECT ON TABLE public.trades TO kalshi_reader;
GRANT SELECT ON TABLE public.trades TO kalshi_writer;

GRANT SELECT ON TABLE store.unplaced TO kalshi_analyst;
GRANT SELECT ON TABLE store.unplaced TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.unplaced TO kalshi_writer;

GRANT SELECT ON TABLE public.unplaced_deltas TO kalshi_analyst;
GRANT SELECT ON TABLE public.unplaced_deltas TO kalshi_reader;
GRANT SELECT ON TABLE public.unplaced_deltas TO kalshi_writer;

GRANT SELECT ON TABLE store.accounts TO kalshi_analyst;
GRANT SELECT ON TABLE store.accounts TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.accounts TO kalshi_writer;

GRANT SELECT ON TABLE store.batch_digests TO kalshi_analyst;
GRANT SELECT ON TABLE store.batch_digests TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.batch_digests TO kalshi_writer;

GRANT SELECT ON TABLE store.lease TO kalshi_analyst;
GRANT SELECT ON TABLE store.lease TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.lease TO kalshi_writer;

GRANT SELECT ON TABLE store.channel_seals TO kalshi_analyst;
GRANT SELECT ON TABLE store.channel_seals TO kalshi_reader;
GRANT SELECT ON TABLE store.channel_seals TO kalshi_writer;

GRANT SELECT ON TABLE store.covered TO kalshi_analyst;
GRANT SELECT ON TABLE store.covered TO kalshi_reader;
GRANT SELECT ON TABLE store.covered TO kalshi_writer;

GRANT SELECT ON TABLE store.crawls TO kalshi_analyst;
GRANT SELECT ON TABLE store.crawls TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.crawls TO kalshi_writer;

GRANT SELECT ON TABLE store.cursors TO kalshi_analyst;
GRANT SELECT ON TABLE store.cursors TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.cursors TO kalshi_writer;

GRANT SELECT ON TABLE store.detached TO kalshi_analyst;
GRANT SELECT ON TABLE store.detached TO kalshi_reader;
GRANT SELECT,INSERT,UPDATE ON TABLE store.detached TO kalshi_writer;

GRANT SELECT ON TABLE store.exports TO kalshi_analyst;
GRANT SELECT ON TABLE store.exports TO kalshi_reader;
GRANT SELECT,INSERT,UPDATE ON TABLE store.exports TO kalshi_writer;

GRANT SELECT ON TABLE store.feed TO kalshi_analyst;
GRANT SELECT ON TABLE store.feed TO kalshi_reader;
GRANT SELECT ON TABLE store.feed TO kalshi_writer;

GRANT SELECT ON TABLE store.feed_hours TO kalshi_analyst;
GRANT SELECT ON TABLE store.feed_hours TO kalshi_reader;
GRANT SELECT,INSERT,UPDATE ON TABLE store.feed_hours TO kalshi_writer;

GRANT SELECT ON TABLE store.hours_touched TO kalshi_analyst;
GRANT SELECT ON TABLE store.hours_touched TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.hours_touched TO kalshi_writer;

GRANT SELECT ON TABLE store.lags TO kalshi_analyst;
GRANT SELECT ON TABLE store.lags TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.lags TO kalshi_writer;

GRANT SELECT ON TABLE store.late_deltas TO kalshi_analyst;
GRANT SELECT ON TABLE store.late_deltas TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.late_deltas TO kalshi_writer;

GRANT SELECT ON TABLE store.put_backs TO kalshi_analyst;
GRANT SELECT ON TABLE store.put_backs TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.put_backs TO kalshi_writer;

GRANT SELECT ON TABLE store.refills TO kalshi_analyst;
GRANT SELECT ON TABLE store.refills TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.refills TO kalshi_writer;

GRANT SELECT ON TABLE store.reset_votes TO kalshi_analyst;
GRANT SELECT ON TABLE store.reset_votes TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.reset_votes TO kalshi_writer;

GRANT SELECT ON TABLE store.unknown_fields TO kalshi_analyst;
GRANT SELECT ON TABLE store.unknown_fields TO kalshi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE store.unknown_fields TO kalshi_writer;

ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public GRANT SELECT ON TABLES TO kalshi_analyst;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public GRANT SELECT ON TABLES TO kalshi_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public GRANT SELECT ON TABLES TO kalshi_writer;

ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA store GRANT SELECT ON TABLES TO kalshi_analyst;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA store GRANT SELECT ON TABLES TO kalshi_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA store GRANT SELECT,INSERT ON TABLES TO kalshi_writer;
