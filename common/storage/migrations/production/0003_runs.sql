-- Time lines of markets, and what each run of a gatherer claims to hold of them.

-- What changes in a market's life is in a row that leaves with it: a day after its end store.held has it.
CREATE TABLE store.lines (
    market     bigint PRIMARY KEY,
    seen_at    timestamptz NOT NULL DEFAULT now(),
    first_seen timestamptz,
    ended_at   timestamptz,
    over       boolean NOT NULL DEFAULT false
);
CREATE INDEX ON store.lines (seen_at);
CREATE INDEX lines_not_over ON store.lines (market) WHERE NOT over;
COMMENT ON TABLE store.lines IS 'Time lines of markets that have not taken their small form (store.held): what is asked all the time is asked of these.';
COMMENT ON COLUMN store.lines.seen_at IS 'When the market got its number.';
COMMENT ON COLUMN store.lines.first_seen IS 'Begin of the time line: the later of the market''s opening and the fleet''s first moment.';
COMMENT ON COLUMN store.lines.over IS 'The time line is settled up to its end and no run goes on.';

CREATE FUNCTION store.begin_lines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO store.lines (market) SELECT market FROM new_rows;
    RETURN NULL;
END $$;
CREATE TRIGGER begin_lines AFTER INSERT ON store.markets REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION store.begin_lines();

CREATE TABLE store.slices (
    gatherer smallint NOT NULL REFERENCES store.gatherers,
    lane     smallint NOT NULL,
    slice    bigint NOT NULL,
    session  bigint NOT NULL,
    sid      int NOT NULL,
    channel  text NOT NULL,
    horizon  timestamptz,
    ended    boolean NOT NULL DEFAULT false,
    reason   text NOT NULL DEFAULT '',
    PRIMARY KEY (gatherer, lane, slice)
) WITH (fillfactor = 70);
COMMENT ON TABLE store.slices IS 'Unbroken stretches of the numbered frames of one subscription at a gatherer, a row each.';
COMMENT ON COLUMN store.slices.horizon IS 'How far the slice is proven complete, in exchange time.';

CREATE TABLE store.runs (
    gatherer   smallint NOT NULL REFERENCES store.gatherers,
    lane       smallint NOT NULL,
    run        bigint NOT NULL,
    slice      bigint NOT NULL,
    market     bigint NOT NULL,
    cover_from timestamptz,
    cover_to   timestamptz,
    ended      boolean NOT NULL DEFAULT false,
    reason     text NOT NULL DEFAULT '',
    excluded   boolean NOT NULL DEFAULT false,
    fixed      boolean NOT NULL DEFAULT false,
    PRIMARY KEY (gatherer, lane, run)
);
CREATE INDEX ON store.runs (market);
CREATE INDEX ON store.runs (gatherer, lane, slice) WHERE NOT ended;
CREATE INDEX runs_open ON store.runs (market) WHERE NOT ended AND cover_from IS NOT NULL;
CREATE INDEX runs_excluded ON store.runs (market) WHERE excluded;
COMMENT ON TABLE store.runs IS 'The part of each market in each slice, from its begin there: what it claims to hold without a hole.';
COMMENT ON COLUMN store.runs.cover_from IS 'From here on the run provably holds everything; null: it claims nothing.';
COMMENT ON COLUMN store.runs.cover_to IS 'Where the claim of an ended run ends (exclusive); an open run claims up to its slice''s horizon.';
COMMENT ON COLUMN store.runs.excluded IS 'It goes on, but gives neither rows nor coverage after cover_to, until it is readmitted.';
COMMENT ON COLUMN store.runs.fixed IS 'Its claim begins at cover_from and never earlier: it was readmitted there, and what came before was passed over.';

-- A run that was excluded in a contradiction is readmitted by a snapshot that equals its book: then it holds two stretches.
CREATE TABLE store.run_parts (
    gatherer smallint NOT NULL REFERENCES store.gatherers,
    lane     smallint NOT NULL,
    run      bigint NOT NULL,
    market   bigint NOT NULL,
    channel  text NOT NULL,
    from_ts  timestamptz NOT NULL,
    to_ts    timestamptz NOT NULL CHECK (to_ts > from_ts),
    PRIMARY KEY (gatherer, lane, run, from_ts)
);
CREATE INDEX ON store.run_parts (market);
COMMENT ON TABLE store.run_parts IS 'What a run held before a contradiction, if it went on after it.';

CREATE TABLE store.retractions (
    market   bigint NOT NULL,
    channel  text NOT NULL,
    gatherer smallint REFERENCES store.gatherers,
    lane     smallint NOT NULL,
    run      bigint NOT NULL,
    from_ts  timestamptz NOT NULL,
    to_ts    timestamptz NOT NULL CHECK (to_ts > from_ts),
    reason   text NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON store.retractions (market);
COMMENT ON TABLE store.retractions IS 'What is claimed no longer: by one gatherer (a contradiction found after its run ended), or by all (no gatherer: exchange time stepped back).';
COMMENT ON COLUMN store.retractions.run IS 'The run that took it back itself; 0: another copy contradicted it.';

-- Rule 21 in tables: what is over takes a small form. Of a market that ended long ago one row stays: its time line, and
-- what each gatherer held of its book. Its runs go, and slices that no run is left of.
CREATE TABLE store.held (
    market     bigint PRIMARY KEY WITH (fillfactor = 100),
    first_seen timestamptz NOT NULL,
    ended_at   timestamptz NOT NULL,
    claims     bytea
);
CREATE INDEX held_ends ON store.held USING brin (ended_at) WITH (autosummarize = on);
COMMENT ON TABLE store.held IS 'Markets that ended long ago: their time lines, and what was claimed of their order books. A row of store.lines, if something came of one since, stands for its time line.';
COMMENT ON COLUMN store.held.claims IS '14 bytes a stretch (store.pack_claims); null: no gatherer ever had a run of it.';

CREATE FUNCTION store.ms_of(at timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT (extract(epoch FROM at) * 1000)::bigint
$$;

-- A stretch: the gatherer's number (2 bytes), from and to (6 each, milliseconds since 1970).
CREATE FUNCTION store.pack_claims(gatherers smallint[], from_ts timestamptz[], to_ts timestamptz[]) RETURNS bytea
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(string_agg(int2send(gatherer) || substring(int8send(store.ms_of(from_ts)) FROM 3)
                                                  || substring(int8send(store.ms_of(to_ts)) FROM 3), ''::bytea
                               ORDER BY gatherer, from_ts), ''::bytea)
      FROM unnest(gatherers, from_ts, to_ts) x (gatherer, from_ts, to_ts)
$$;

CREATE FUNCTION store.unpack_claims(claims bytea)
RETURNS TABLE (gatherer smallint, from_ts timestamptz, to_ts timestamptz) LANGUAGE sql STABLE AS $$
    SELECT ('x' || substring(hex FROM n FOR 4))::bit(16)::int::smallint,
           timestamptz '1970-01-01 00:00:00+00' + ('x0000' || substring(hex FROM n + 4 FOR 12))::bit(64)::bigint * interval '1 millisecond',
           timestamptz '1970-01-01 00:00:00+00' + ('x0000' || substring(hex FROM n + 16 FOR 12))::bit(64)::bigint * interval '1 millisecond'
      FROM encode(claims, 'hex') hex, generate_series(1, length(hex), 28) n
$$;

-- Of what has its small form something comes: its time line is open again, until it takes that form again.
CREATE FUNCTION store.reopen_lines(markets bigint[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO store.lines (market, seen_at, first_seen, ended_at, over)
    SELECT market, first_seen, first_seen, ended_at, true FROM store.held WHERE market = ANY (markets)
    ON CONFLICT (market) DO NOTHING
$$;
COMMENT ON FUNCTION store.reopen_lines IS 'Time lines of these markets, as store.held has them, become rows of store.lines.';

-- Markets whose time lines ended so long ago, and are settled; their runs have all ended. Those of which something is not
-- settled (a contradiction, an unplaced row) stay as they are. Returns how many.
CREATE FUNCTION store.compact_markets(age interval, at_once bigint) RETURNS bigint LANGUAGE plpgsql AS $$
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
COMMENT ON FUNCTION store.compact_markets IS 'One row of each market that ended so long ago, instead of its time line and its runs. What people see stays the same.';

-- The last slice of each channel stays: it shows that the channel was recorded.
CREATE FUNCTION store.compact_slices(age interval) RETURNS bigint LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM store.slices s
         WHERE s.ended AND coalesce(s.horizon, '-infinity') < now() - age
           AND NOT EXISTS (SELECT FROM store.runs r WHERE (r.gatherer, r.lane, r.slice) = (s.gatherer, s.lane, s.slice))
           AND EXISTS (SELECT FROM store.slices l WHERE l.channel = s.channel AND (l.gatherer, l.lane, l.slice) > (s.gatherer, s.lane, s.slice))
        RETURNING 1
    )
    SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION store.compact_slices IS 'Deletes slices that ended so long ago and that no run is left of.';
