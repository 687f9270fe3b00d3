-- What was recorded: markets and their numbers; sessions, slices and runs; the rows of each channel. Rows arrive in the
-- order of their batches.

-- A hundred markets are born every second. Their numbers go once no row has them; a loader asks again for each that it
-- still uses, within a day.
CREATE TABLE markets (
    market  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ticker  text NOT NULL UNIQUE,
    used_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE markets IS 'Numbers for tickers, local to this instance, allotted before use. The empty ticker stands for all markets.';
COMMENT ON COLUMN markets.used_at IS 'When a loader last asked for the number; it uses it for a day after that at most.';

CREATE TABLE listed_markets (
    ticker      text PRIMARY KEY,
    status      text NOT NULL,
    open_time   timestamptz,
    close_time  timestamptz,
    seen_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE listed_markets IS 'The registry: the last of what REST and lifecycle messages had of each market.';

CREATE TABLE sessions (
    lane smallint NOT NULL, batch bigint NOT NULL,
    session bigint NOT NULL, role text NOT NULL, connection int NOT NULL, url text NOT NULL,
    use_yes_price boolean NOT NULL, started_us bigint NOT NULL
);
CREATE INDEX ON sessions (batch);
COMMENT ON TABLE sessions IS 'WebSocket connections, a row each.';

CREATE TABLE slices (
    lane smallint NOT NULL, batch bigint NOT NULL,
    slice bigint NOT NULL, session bigint NOT NULL, sid int NOT NULL, channel text NOT NULL,
    started_seq bigint NOT NULL, started_us bigint NOT NULL
);
CREATE INDEX ON slices (batch);
CREATE INDEX ON slices (lane, slice);
COMMENT ON TABLE slices IS 'Unbroken stretches of the numbered frames of one subscription.';

CREATE TABLE runs (
    lane smallint NOT NULL, batch bigint NOT NULL,
    run bigint NOT NULL, slice bigint NOT NULL, market bigint NOT NULL, started_seq bigint NOT NULL,
    cover_from_ms bigint NOT NULL
);
CREATE INDEX ON runs (batch);
CREATE INDEX ON runs (lane, slice);
COMMENT ON TABLE runs IS 'The part of each market in a slice, from its begin there.';

CREATE TABLE run_events (
    lane smallint NOT NULL, batch bigint NOT NULL,
    position int NOT NULL, run bigint NOT NULL, event text NOT NULL CHECK (event IN ('covers', 'ended', 'retracts')),
    from_ms bigint NOT NULL, to_ms bigint NOT NULL, reason text NOT NULL, stored_at timestamptz NOT NULL
);
SELECT keep_in_hours('run_events', 'run, batch, position');
CREATE INDEX ON run_events (batch);
COMMENT ON TABLE run_events IS 'What became of runs: what each covers, that it ended, what it takes back.';

CREATE TABLE horizons (
    lane smallint NOT NULL, batch bigint NOT NULL,
    slice bigint NOT NULL, horizon_ms bigint NOT NULL, ended boolean NOT NULL, reason text NOT NULL,
    stored_at timestamptz NOT NULL
);
SELECT keep_in_hours('horizons', 'slice, batch');
CREATE INDEX ON horizons (batch);
COMMENT ON TABLE horizons IS 'How far each slice is proven complete, in exchange time.';

CREATE TABLE deltas (
    lane smallint NOT NULL, batch bigint NOT NULL,
    run bigint NOT NULL, market bigint NOT NULL, seq bigint NOT NULL, exchange_ms bigint NOT NULL,
    ordinal int NOT NULL, exchange_us smallint NOT NULL, side smallint NOT NULL, price int NOT NULL,
    delta bigint NOT NULL, received_us bigint NOT NULL, stored_at timestamptz NOT NULL
);
-- A batch is read from an hour that is compressed, too: its rows lie together.
SELECT keep_in_hours('deltas', 'lane, stored_at, market, exchange_ms, seq');
-- The large table has BRIN, which costs the loader nothing; the small ones a btree, whose last page is always the one in
-- use. Batches are read by the moment at which they were stored: several lanes write into one hour, each with batch numbers
-- of its own, so that only time is in the order of the pages.
CREATE INDEX deltas_stored_at ON deltas USING brin (stored_at) WITH (pages_per_range = 16, autosummarize = on);
COMMENT ON TABLE deltas IS 'Order-book changes.';
COMMENT ON COLUMN deltas.ordinal IS 'Position among all changes of the market in the millisecond; -1: unknown, the run began in mid-group.';
COMMENT ON COLUMN deltas.exchange_us IS 'Microseconds within the millisecond; -1: the exchange sent none.';
COMMENT ON COLUMN deltas.side IS '0 yes, 1 no (prices of side no are NO prices).';
COMMENT ON COLUMN deltas.price IS 'Units of 1e-4 dollar.';
COMMENT ON COLUMN deltas.delta IS 'Signed size, units of 1e-2 contract.';

CREATE TABLE snapshots (
    lane smallint NOT NULL, batch bigint NOT NULL,
    run bigint NOT NULL, market bigint NOT NULL, seq bigint NOT NULL, kind text NOT NULL,
    exchange_ms bigint NOT NULL, after_ordinal int NOT NULL, agrees smallint NOT NULL, taken_us bigint NOT NULL,
    yes bigint[] NOT NULL, no bigint[] NOT NULL, stored_at timestamptz NOT NULL
);
SELECT keep_in_hours('snapshots', 'market, batch');
CREATE INDEX ON snapshots (batch);
COMMENT ON TABLE snapshots IS 'Books that the exchange sent.';

-- Books as REST gave them, each compared with the folded book at every instant of its request.
CREATE TABLE rest_books (
    lane smallint NOT NULL, batch bigint NOT NULL,
    market bigint NOT NULL, requested_us bigint NOT NULL, answered_us bigint NOT NULL, agrees smallint NOT NULL,
    yes bigint[] NOT NULL, no bigint[] NOT NULL, stored_at timestamptz NOT NULL
);
SELECT keep_in_hours('rest_books', 'market, answered_us');
CREATE INDEX ON rest_books (batch);
COMMENT ON TABLE rest_books IS 'Books as REST gave them.';
COMMENT ON COLUMN rest_books.agrees IS '1: the folded book was the same at an instant of the request; 0: at none; -1: not comparable.';
COMMENT ON COLUMN rest_books.no IS 'Price, size ...: NO prices; units of 1e-4 dollar and 1e-2 contract, best first.';

CREATE TABLE trades (
    lane smallint NOT NULL, batch bigint NOT NULL,
    slice bigint NOT NULL, seq bigint NOT NULL, trade_id uuid NOT NULL, market bigint NOT NULL,
    exchange_ms bigint NOT NULL, yes_price int NOT NULL, count bigint NOT NULL, taker_side smallint NOT NULL,
    is_block boolean NOT NULL, received_us bigint NOT NULL, stored_at timestamptz NOT NULL
);
SELECT keep_in_hours('trades', 'market, exchange_ms');
CREATE INDEX ON trades (batch);
COMMENT ON TABLE trades IS 'Trades.';

CREATE TABLE tickers (
    lane smallint NOT NULL, batch bigint NOT NULL,
    market bigint NOT NULL, exchange_ms bigint NOT NULL, price int, yes_bid int, yes_ask int,
    yes_bid_size bigint, yes_ask_size bigint, volume bigint, open_interest bigint, received_us bigint NOT NULL,
    stored_at timestamptz NOT NULL
);
SELECT keep_in_hours('tickers', 'market, exchange_ms');
CREATE INDEX ON tickers (batch);
COMMENT ON TABLE tickers IS 'Ticker messages.';

CREATE TABLE lifecycle (
    lane smallint NOT NULL, batch bigint NOT NULL,
    market bigint NOT NULL, event_type text NOT NULL, payload jsonb NOT NULL, received_us bigint NOT NULL,
    stored_at timestamptz NOT NULL
);
SELECT keep_in_hours('lifecycle', 'market, batch');
CREATE INDEX ON lifecycle (batch);
COMMENT ON TABLE lifecycle IS 'Lifecycle messages.';

CREATE TABLE quarantine (
    lane smallint NOT NULL, batch bigint NOT NULL,
    session bigint NOT NULL, sid int NOT NULL, seq bigint NOT NULL, reason text NOT NULL,
    received_us bigint NOT NULL, frame bytea NOT NULL
);
CREATE INDEX ON quarantine (batch);
COMMENT ON TABLE quarantine IS 'Frames that could not become rows, as received.';

CREATE TABLE breaks (
    lane smallint NOT NULL, batch bigint NOT NULL,
    session bigint NOT NULL, sid int NOT NULL, reason text NOT NULL, expected bigint NOT NULL,
    received bigint NOT NULL, at_us bigint NOT NULL
);
CREATE INDEX ON breaks (batch);
COMMENT ON TABLE breaks IS 'Where the numbers of a subscription were not the next ones.';
