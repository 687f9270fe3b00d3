-- Production: one history of what the gatherers recorded.
-- Schema `store` holds integers in narrow rows; the relations that people query are views over it (0002).

CREATE SCHEMA store;

CREATE TABLE store.lease (
    only_one        boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    epoch           bigint NOT NULL DEFAULT 0,
    holder          text NOT NULL DEFAULT '',
    fleet_started_at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now()),
    newest_exchange_ts timestamptz
);
COMMENT ON TABLE store.lease IS 'Who may write: every transaction of the deduplicator begins by locking the row of its epoch.';
INSERT INTO store.lease DEFAULT VALUES;

CREATE TABLE store.gatherers (
    gatherer    smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gatherer_id text NOT NULL,
    instance    uuid NOT NULL UNIQUE,
    seen_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE store.gatherers IS 'Instances that were read; a machine rebuilt empty under the same name is another one.';

CREATE TABLE store.cursors (
    gatherer smallint NOT NULL REFERENCES store.gatherers,
    lane     smallint NOT NULL,
    batch    bigint NOT NULL,
    PRIMARY KEY (gatherer, lane)
);
COMMENT ON TABLE store.cursors IS 'The last batch whose rows are here, moved in the transaction that stored them.';

CREATE TABLE store.accounts (
    gatherer    smallint NOT NULL REFERENCES store.gatherers,
    lane        smallint NOT NULL,
    from_batch  bigint NOT NULL,
    to_batch    bigint NOT NULL,
    received    bigint NOT NULL,
    inserted    bigint NOT NULL,
    confirmed   bigint NOT NULL,
    disputed    bigint NOT NULL,
    unplaced    bigint NOT NULL,
    quarantined bigint NOT NULL,
    stored_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (gatherer, lane, from_batch),
    CONSTRAINT every_delta_frame_is_accounted_for
        CHECK (received = inserted + confirmed + disputed + unplaced + quarantined)
);
COMMENT ON TABLE store.accounts IS 'What became of every delta frame of every batch; the five add up to received.';

-- A market's number is written once, and stays.
CREATE TABLE store.markets (
    market bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY WITH (fillfactor = 100),
    ticker text NOT NULL UNIQUE
);
COMMENT ON TABLE store.markets IS 'Numbers for tickers; the empty ticker stands for all markets of a channel that carries them all.';

-- What changes in a market's life is in a row that leaves with it: a day after its end store.held has it (0027).
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
    PRIMARY KEY (gatherer, lane, run)
);
CREATE INDEX ON store.runs (market);
CREATE INDEX ON store.runs (gatherer, lane, slice) WHERE NOT ended;
COMMENT ON COLUMN store.runs.cover_from IS 'From here on the run provably holds everything; null: it claims nothing.';
COMMENT ON COLUMN store.runs.cover_to IS 'Where the claim of an ended run ends (exclusive); an open run claims up to its slice''s horizon.';

CREATE TABLE store.deltas (
    market      bigint NOT NULL,
    exchange_ts timestamptz NOT NULL,
    ordinal     int NOT NULL,
    exchange_us smallint NOT NULL,
    side        smallint NOT NULL,
    price       int NOT NULL,
    delta       bigint NOT NULL,
    received_at timestamptz NOT NULL
) PARTITION BY RANGE (exchange_ts);
CREATE UNIQUE INDEX deltas_identity ON store.deltas (market, exchange_ts, ordinal);
CREATE INDEX deltas_time ON store.deltas USING brin (exchange_ts) WITH (autosummarize = on);

CREATE TABLE store.trades (
    trade_id    uuid NOT NULL,
    market      bigint NOT NULL,
    exchange_ts timestamptz NOT NULL,
    yes_price   int NOT NULL,
    count       bigint NOT NULL,
    taker_side  smallint NOT NULL,
    is_block    boolean NOT NULL,
    received_at timestamptz NOT NULL,
    source      text NOT NULL CHECK (source IN ('ws', 'rest'))
) PARTITION BY RANGE (exchange_ts);
CREATE UNIQUE INDEX trades_identity ON store.trades (trade_id, exchange_ts);
CREATE INDEX trades_market ON store.trades (market, exchange_ts);

CREATE TABLE store.tickers (
    market        bigint NOT NULL,
    exchange_ts   timestamptz NOT NULL,
    content       uuid NOT NULL,
    price         int, yes_bid int, yes_ask int,
    yes_bid_size  bigint, yes_ask_size bigint, volume bigint, open_interest bigint,
    received_at   timestamptz NOT NULL
) PARTITION BY RANGE (exchange_ts);
CREATE UNIQUE INDEX tickers_identity ON store.tickers (market, exchange_ts, content);

CREATE TABLE store.lifecycle (
    market      bigint NOT NULL,
    event_type  text NOT NULL,
    exchange_ts timestamptz,
    payload     jsonb NOT NULL,
    content     uuid NOT NULL,
    received_at timestamptz NOT NULL
);
CREATE INDEX ON store.lifecycle (market, received_at);
CREATE INDEX ON store.lifecycle (content, received_at);

CREATE TABLE store.snapshots (
    market        bigint NOT NULL,
    exchange_ts   timestamptz NOT NULL,
    taken_at      timestamptz NOT NULL,
    after_ordinal int NOT NULL,
    is_reset      boolean NOT NULL,
    verified      boolean,
    source        text NOT NULL CHECK (source IN ('ws', 'rest', 'checkpoint')),
    yes           bigint[] CHECK (yes <> '{}'),
    no            bigint[] CHECK (no <> '{}'),
    UNIQUE (market, exchange_ts, after_ordinal, is_reset)
);
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
COMMENT ON TABLE store.reset_votes IS 'Snapshots that disagree with an unbroken run, until all copies have said whether they saw the same.';

CREATE TABLE store.gaps (
    gap        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    market     bigint NOT NULL,
    channel    text NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz NOT NULL CHECK (ended_at > started_at),
    reason     text NOT NULL,
    had        jsonb NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    healed_at  timestamptz
);
CREATE INDEX ON store.gaps (market, channel, started_at);
COMMENT ON COLUMN store.gaps.had IS 'Why each gatherer''s last run before the gap ended.';

CREATE TABLE store.unplaced (
    gatherer    smallint NOT NULL REFERENCES store.gatherers,
    session     bigint NOT NULL,
    sid         int NOT NULL,
    seq         bigint NOT NULL,
    lane        smallint NOT NULL,
    run         bigint NOT NULL,
    market      bigint NOT NULL,
    exchange_ts timestamptz NOT NULL,
    exchange_us smallint NOT NULL,
    side        smallint NOT NULL,
    price       int NOT NULL,
    delta       bigint NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (gatherer, session, sid, seq, run)  -- a repeated frame has the number of the first, in another run
);
CREATE INDEX ON store.unplaced (market, exchange_ts);

CREATE TABLE store.conflicts (
    conflict    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text NOT NULL,
    market      bigint NOT NULL,
    exchange_ts timestamptz,
    versions    jsonb NOT NULL,
    seen_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE store.quarantine (
    gatherer    smallint NOT NULL REFERENCES store.gatherers,
    session     bigint NOT NULL,
    sid         int NOT NULL,
    seq         bigint NOT NULL,
    reason      text NOT NULL,
    received_at timestamptz NOT NULL,
    frame       bytea NOT NULL
);

-- Metadata: the exchange's fields under their own names, the whole object in `raw`.
CREATE TABLE series (
    ticker     text PRIMARY KEY,
    title      text GENERATED ALWAYS AS (raw ->> 'title') STORED,
    category   text GENERATED ALWAYS AS (raw ->> 'category') STORED,
    updated_at timestamptz NOT NULL,
    raw        jsonb NOT NULL
);
CREATE TABLE events (
    ticker         text PRIMARY KEY,
    series_ticker  text GENERATED ALWAYS AS (raw ->> 'series_ticker') STORED,
    title          text GENERATED ALWAYS AS (raw ->> 'title') STORED,
    sub_title      text GENERATED ALWAYS AS (raw ->> 'sub_title') STORED,
    strike_date    text GENERATED ALWAYS AS (raw ->> 'strike_date') STORED,
    strike_period  text GENERATED ALWAYS AS (raw ->> 'strike_period') STORED,
    updated_at     timestamptz NOT NULL,
    raw            jsonb NOT NULL
);
CREATE TABLE markets (
    ticker        text PRIMARY KEY,
    event_ticker  text GENERATED ALWAYS AS (raw ->> 'event_ticker') STORED,
    market_type   text GENERATED ALWAYS AS (raw ->> 'market_type') STORED,
    title         text GENERATED ALWAYS AS (raw ->> 'title') STORED,
    yes_sub_title text GENERATED ALWAYS AS (raw ->> 'yes_sub_title') STORED,
    status        text GENERATED ALWAYS AS (raw ->> 'status') STORED,
    result        text GENERATED ALWAYS AS (raw ->> 'result') STORED,
    open_time     timestamptz,
    close_time    timestamptz,
    settlement_ts timestamptz,
    volume_fp     numeric GENERATED ALWAYS AS ((raw ->> 'volume_fp')::numeric) STORED,
    updated_at    timestamptz NOT NULL,
    raw           jsonb NOT NULL
);
CREATE INDEX ON markets (event_ticker);
CREATE TABLE market_changes (
    ticker  text NOT NULL,
    seen_at timestamptz NOT NULL,
    field   text NOT NULL,
    old     jsonb,
    new     jsonb
);
CREATE INDEX ON market_changes (ticker, seen_at);
COMMENT ON TABLE market_changes IS 'History of the metadata of markets; prices, volumes and updated_time, which change all the time, are left out.';

CREATE FUNCTION store.note_market_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.market_changes (ticker, seen_at, field, old, new)
    SELECT NEW.ticker, NEW.updated_at, coalesce(o.key, n.key), o.value, n.value
      FROM jsonb_each(OLD.raw) o FULL JOIN jsonb_each(NEW.raw) n ON n.key = o.key
     WHERE o.value IS DISTINCT FROM n.value
       AND coalesce(o.key, n.key) !~ '(_dollars|_fp)$'
       AND coalesce(o.key, n.key) <> 'updated_time';
    RETURN NEW;
END $$;
CREATE TRIGGER note_change AFTER UPDATE ON markets FOR EACH ROW
    WHEN (OLD.raw IS DISTINCT FROM NEW.raw) EXECUTE FUNCTION store.note_market_change();

-- Partitions are built beside the table and attached with a matching check; there is no default partition.
CREATE FUNCTION store.add_day(parent text, day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part text := format('%s_p%s', parent, to_char(day, 'YYYYMMDD'));
    lo timestamptz := day::timestamp AT TIME ZONE 'UTC';
    hi timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass('store.' || part) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE store.%I (LIKE store.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', part, parent);
    EXECUTE format('ALTER TABLE store.%I ADD CONSTRAINT within_day CHECK (exchange_ts >= %L AND exchange_ts < %L)', part, lo, hi);
    EXECUTE format('ALTER TABLE store.%I ATTACH PARTITION store.%I FOR VALUES FROM (%L) TO (%L)', parent, part, lo, hi);
    EXECUTE format('ALTER TABLE store.%I DROP CONSTRAINT within_day', part);
END $$;
