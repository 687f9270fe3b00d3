-- The other channels: trades in the exchange's order, tickers, lifecycle messages.

-- Each has the ordinal of its twin, the change of the book that it made. The exchange's order is (exchange_ts, ordinal,
-- trade_id); a trade without an ordinal comes after those of its millisecond.
CREATE TABLE store.trades (
    trade_id    uuid NOT NULL,
    market      bigint NOT NULL,
    exchange_ts timestamptz NOT NULL,
    yes_price   int NOT NULL,
    count       bigint NOT NULL,
    taker_side  smallint NOT NULL,
    is_block    boolean NOT NULL,
    received_at timestamptz NOT NULL,
    source      text NOT NULL CHECK (source IN ('ws', 'rest')),
    ordinal     int
) PARTITION BY RANGE (exchange_ts);
CREATE UNIQUE INDEX trades_identity ON store.trades (trade_id, exchange_ts);
CREATE INDEX trades_market ON store.trades (market, exchange_ts);
CREATE INDEX trades_time ON store.trades (exchange_ts);
COMMENT ON TABLE store.trades IS 'Every trade, once, by trade_id. A partition a day.';
COMMENT ON COLUMN store.trades.ordinal IS 'Ordinal of the twin: the change of the same market and millisecond at the maker''s side and price of minus the count. Null: a block trade, or no twin is recorded.';

-- Among trades and changes of equal content the k-th trade by trade_id has the k-th change by ordinal: what is stored
-- decides, not in which order it came. Of a day whose changes are in the archive what was given stands: a trade without an
-- ordinal may take a late change that no trade has (the next export looks at the whole hour). Trades that are given
-- ordinals are a change of the step: returned, so that the feed has them.
CREATE FUNCTION store.give_ordinals(of_markets bigint[], at_times timestamptz[])
RETURNS TABLE (placed_id uuid, placed_market bigint, placed_ts timestamptz, placed_ordinal int) LANGUAGE plpgsql
SET enable_seqscan = off AS $$  -- a plan that was made while a day was empty would read all of it
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
COMMENT ON FUNCTION store.give_ordinals IS 'Gives the trades of some milliseconds of markets the ordinals of their twins, in the transaction that stores a trade or a change; returns the trades that changed.';

CREATE FUNCTION store.place_trades(of_markets bigint[], at_times timestamptz[]) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM store.give_ordinals(of_markets, at_times)
$$;
COMMENT ON FUNCTION store.place_trades IS 'Gives the trades of some milliseconds of markets the ordinals of their twins; called in the transaction that stores a trade or a change.';

-- Candlesticks that the exchange itself lists, for markets and times that the fleet never saw.
CREATE TABLE store.rest_candles (
    ticker         text NOT NULL,
    period_minutes int NOT NULL CHECK (period_minutes IN (1, 60, 1440)),
    end_ts         timestamptz NOT NULL,
    open           int NOT NULL,
    high           int NOT NULL,
    low            int NOT NULL,
    close          int NOT NULL,
    volume         bigint NOT NULL,
    open_interest  bigint,
    fetched_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (ticker, period_minutes, end_ts)
);
COMMENT ON TABLE store.rest_candles IS 'Candlesticks as REST lists them: prices in 1e-4 dollar, volume and open interest in 1e-2 contract. Periods without a trade are left out.';

CREATE TABLE store.tickers (
    market        bigint NOT NULL,
    exchange_ts   timestamptz NOT NULL,
    content       uuid NOT NULL,
    price         int, yes_bid int, yes_ask int,
    yes_bid_size  bigint, yes_ask_size bigint, volume bigint, open_interest bigint,
    received_at   timestamptz NOT NULL
) PARTITION BY RANGE (exchange_ts);
CREATE UNIQUE INDEX tickers_identity ON store.tickers (market, exchange_ts, content);
COMMENT ON TABLE store.tickers IS 'Ticker messages, the union of all copies. A partition a day.';

CREATE TABLE store.lifecycle (
    market      bigint NOT NULL,
    event_type  text NOT NULL,
    exchange_ts timestamptz,
    payload     jsonb NOT NULL,
    content     uuid NOT NULL,
    received_at timestamptz NOT NULL,
    stored_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON store.lifecycle (market, received_at);
CREATE INDEX ON store.lifecycle (content, received_at);
CREATE INDEX lifecycle_end_of ON store.lifecycle (market) WHERE event_type IN ('determined', 'settled');
CREATE INDEX lifecycle_ends ON store.lifecycle (stored_at) WHERE event_type IN ('determined', 'settled', 'activated');
COMMENT ON TABLE store.lifecycle IS 'Lifecycle messages; equal content within 30 s is one.';
COMMENT ON COLUMN store.lifecycle.stored_at IS 'When it came here: later than received_at by as much as the gatherer was late.';
