-- A gatherer's local database: what one zone recorded, in batches of one transaction each.
-- Everything a batch wrote carries (lane, batch); a batch number is used once, by one loader, without holes.

CREATE TABLE instance (
    instance    uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    gatherer_id text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    only_one    boolean NOT NULL UNIQUE DEFAULT true CHECK (only_one)
);
COMMENT ON TABLE instance IS 'Who this database is: a machine rebuilt empty is another instance and is read from its first batch.';
INSERT INTO instance DEFAULT VALUES;

CREATE TABLE lanes (
    lane       smallint PRIMARY KEY,
    state      text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'draining', 'closed')),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE lanes IS 'A lane is one journal, its loader and its batch numbers.';

CREATE TABLE batches (
    lane            smallint NOT NULL REFERENCES lanes,
    batch           bigint NOT NULL CHECK (batch > 0),
    journal         uuid NOT NULL,
    segment         bigint NOT NULL,
    end_offset      bigint NOT NULL,
    frames          bigint NOT NULL,
    delta_frames    bigint NOT NULL,
    delta_rows      bigint NOT NULL,
    delta_poisoned  bigint NOT NULL,
    received_us     bigint NOT NULL,
    alarms          jsonb NOT NULL,
    loaded_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (lane, batch),
    CONSTRAINT every_delta_frame_is_accounted_for CHECK (delta_frames = delta_rows + delta_poisoned)
);
COMMENT ON TABLE batches IS 'One row per transaction of the loader; (segment, end_offset) is its place in the journal.';

CREATE TABLE markets (
    market  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ticker  text NOT NULL UNIQUE
);
COMMENT ON TABLE markets IS 'Numbers for tickers, local to this instance, allotted before use. The empty ticker stands for all markets.';

CREATE TABLE listed_markets (
    ticker      text PRIMARY KEY,
    status      text NOT NULL,
    open_time   timestamptz,
    close_time  timestamptz,
    seen_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE listed_markets IS 'The registry: what REST and lifecycle messages said last of each market.';

CREATE TABLE sessions (
    lane smallint NOT NULL, batch bigint NOT NULL,
    session bigint NOT NULL, role text NOT NULL, connection int NOT NULL, url text NOT NULL,
    use_yes_price boolean NOT NULL, started_us bigint NOT NULL
);
CREATE TABLE slices (
    lane smallint NOT NULL, batch bigint NOT NULL,
    slice bigint NOT NULL, session bigint NOT NULL, sid int NOT NULL, channel text NOT NULL,
    started_seq bigint NOT NULL, started_us bigint NOT NULL
);
CREATE TABLE runs (
    lane smallint NOT NULL, batch bigint NOT NULL,
    run bigint NOT NULL, slice bigint NOT NULL, market bigint NOT NULL, started_seq bigint NOT NULL,
    cover_from_ms bigint NOT NULL
);
CREATE TABLE run_events (
    lane smallint NOT NULL, batch bigint NOT NULL,
    position int NOT NULL, run bigint NOT NULL, event text NOT NULL CHECK (event IN ('covers', 'ended', 'retracts')),
    from_ms bigint NOT NULL, to_ms bigint NOT NULL, reason text NOT NULL
);
CREATE TABLE horizons (
    lane smallint NOT NULL, batch bigint NOT NULL,
    slice bigint NOT NULL, horizon_ms bigint NOT NULL, ended boolean NOT NULL, reason text NOT NULL
);
CREATE TABLE deltas (
    lane smallint NOT NULL, batch bigint NOT NULL,
    run bigint NOT NULL, market bigint NOT NULL, seq bigint NOT NULL, exchange_ms bigint NOT NULL,
    ordinal int NOT NULL, exchange_us smallint NOT NULL, side smallint NOT NULL, price int NOT NULL,
    delta bigint NOT NULL, received_us bigint NOT NULL
);
COMMENT ON COLUMN deltas.ordinal IS 'Position among all changes of the market in the millisecond; -1: unknown, the run began in mid-group.';
COMMENT ON COLUMN deltas.exchange_us IS 'Microseconds within the millisecond; -1: the exchange did not say.';
COMMENT ON COLUMN deltas.side IS '0 yes, 1 no (prices of side no are NO prices).';
COMMENT ON COLUMN deltas.price IS 'Units of 1e-4 dollar.';
COMMENT ON COLUMN deltas.delta IS 'Signed size, units of 1e-2 contract.';
CREATE TABLE snapshots (
    lane smallint NOT NULL, batch bigint NOT NULL,
    run bigint NOT NULL, market bigint NOT NULL, seq bigint NOT NULL, kind text NOT NULL,
    exchange_ms bigint NOT NULL, after_ordinal int NOT NULL, agrees smallint NOT NULL, taken_us bigint NOT NULL,
    yes bigint[] NOT NULL, no bigint[] NOT NULL
);
CREATE TABLE trades (
    lane smallint NOT NULL, batch bigint NOT NULL,
    slice bigint NOT NULL, seq bigint NOT NULL, trade_id uuid NOT NULL, market bigint NOT NULL,
    exchange_ms bigint NOT NULL, yes_price int NOT NULL, count bigint NOT NULL, taker_side smallint NOT NULL,
    is_block boolean NOT NULL, received_us bigint NOT NULL
);
CREATE TABLE tickers (
    lane smallint NOT NULL, batch bigint NOT NULL,
    market bigint NOT NULL, exchange_ms bigint NOT NULL, price int, yes_bid int, yes_ask int,
    yes_bid_size bigint, yes_ask_size bigint, volume bigint, open_interest bigint, received_us bigint NOT NULL
);
CREATE TABLE lifecycle (
    lane smallint NOT NULL, batch bigint NOT NULL,
    market bigint NOT NULL, event_type text NOT NULL, payload jsonb NOT NULL, received_us bigint NOT NULL
);
CREATE TABLE quarantine (
    lane smallint NOT NULL, batch bigint NOT NULL,
    session bigint NOT NULL, sid int NOT NULL, seq bigint NOT NULL, reason text NOT NULL,
    received_us bigint NOT NULL, frame bytea NOT NULL
);
CREATE TABLE breaks (
    lane smallint NOT NULL, batch bigint NOT NULL,
    session bigint NOT NULL, sid int NOT NULL, reason text NOT NULL, expected bigint NOT NULL,
    received bigint NOT NULL, at_us bigint NOT NULL
);

-- Rows arrive in the order of their batches. The large table has BRIN, which costs the loader nothing (it summarises
-- new pages now and then); the small ones a btree, whose last page is always the one in use.
CREATE INDEX deltas_batch ON deltas USING brin (batch) WITH (pages_per_range = 16);
CREATE INDEX ON sessions (batch);
CREATE INDEX ON slices (batch);
CREATE INDEX ON runs (batch);
CREATE INDEX ON run_events (batch);
CREATE INDEX ON horizons (batch);
CREATE INDEX ON snapshots (batch);
CREATE INDEX ON trades (batch);
CREATE INDEX ON tickers (batch);
CREATE INDEX ON lifecycle (batch);
CREATE INDEX ON quarantine (batch);
CREATE INDEX ON breaks (batch);

CREATE TABLE consumers (
    consumer text NOT NULL,
    lane     smallint NOT NULL REFERENCES lanes,
    epoch    bigint NOT NULL,
    batch    bigint NOT NULL,
    acknowledged_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, lane)
);
COMMENT ON TABLE consumers IS 'How far each reader has stored what it read; retention keeps what one of them has not.';

CREATE FUNCTION acknowledge(consumer text, epoch bigint, lane smallint, batch bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public AS $$
    INSERT INTO consumers AS c (consumer, lane, epoch, batch) VALUES ($1, $3, $2, $4)
    ON CONFLICT (consumer, lane) DO UPDATE
       SET epoch = excluded.epoch, batch = excluded.batch, acknowledged_at = now()
     WHERE excluded.epoch > c.epoch OR (excluded.epoch = c.epoch AND excluded.batch >= c.batch);
$$;
COMMENT ON FUNCTION acknowledge IS 'The one thing a reader may change here; an older epoch never moves it.';
