-- Trades in the exchange's order: each has the ordinal of its twin, the change of the book that it made. The exchange's
-- order is (exchange_ts, ordinal, trade_id); a trade without an ordinal comes after those of its millisecond.
ALTER TABLE store.trades ADD COLUMN ordinal int;
COMMENT ON COLUMN store.trades.ordinal IS 'Ordinal of the twin: the change of the same market and millisecond at the maker''s side and price of minus the count. Null: a block trade, or no twin is recorded.';
CREATE INDEX trades_time ON store.trades (exchange_ts);

-- Gives the trades of some milliseconds of markets the ordinals of their twins; returns how many trades changed. Among
-- trades and changes of equal content the k-th trade by trade_id has the k-th change by ordinal: what is stored decides,
-- not in which order it came. Of a day whose changes are in the archive what was given stands: a trade without an ordinal
-- may take a late change that no trade has (the next export looks at the whole hour).
CREATE FUNCTION store.place_trades(of_markets bigint[], at_times timestamptz[]) RETURNS bigint LANGUAGE plpgsql
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
        RETURN 0;
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
        RETURN 0;
    END IF;
    UPDATE store.trades t SET ordinal = n.ordinal FROM unnest(ids, times, twins) n (trade_id, exchange_ts, ordinal)
     WHERE t.trade_id = n.trade_id AND t.exchange_ts = n.exchange_ts AND t.exchange_ts BETWEEN first AND last;
    RETURN cardinality(ids);
END $$;
COMMENT ON FUNCTION store.place_trades IS 'Gives the trades of some milliseconds of markets the ordinals of their twins; called in the transaction that stores a trade or a change.';
REVOKE EXECUTE ON FUNCTION store.place_trades FROM PUBLIC;
GRANT EXECUTE ON FUNCTION store.place_trades TO kalshi_writer;

DROP VIEW trades;
CREATE VIEW trades AS
SELECT t.trade_id, m.ticker, t.exchange_ts, t.ordinal, t.yes_price * 0.0001 AS yes_price, t.count * 0.01 AS count,
       CASE t.taker_side WHEN 0 THEN 'yes' ELSE 'no' END AS taker_side, t.is_block, t.received_at, t.source
  FROM store.trades t JOIN store.markets m USING (market);
COMMENT ON VIEW trades IS 'Every trade, once, by trade_id. The exchange''s order is (exchange_ts, ordinal, trade_id), a null ordinal last.';
COMMENT ON COLUMN trades.trade_id IS 'The exchange''s number of the trade.';
COMMENT ON COLUMN trades.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN trades.exchange_ts IS 'Time of the exchange, whole milliseconds.';
COMMENT ON COLUMN trades.ordinal IS 'Ordinal of the order-book change that the trade made, in the same millisecond. Null: a block trade, or the change is not recorded.';
COMMENT ON COLUMN trades.yes_price IS 'Price of YES in dollars.';
COMMENT ON COLUMN trades.count IS 'Contracts.';
COMMENT ON COLUMN trades.taker_side IS 'yes or no: what the taker bought.';
COMMENT ON COLUMN trades.is_block IS 'Made off the book.';
COMMENT ON COLUMN trades.received_at IS 'When the first stored copy was received, by that gatherer''s clock.';
COMMENT ON COLUMN trades.source IS 'ws: a gatherer received it. rest: nobody did; it is from the exchange''s list (received_at: when it was read).';

CREATE OR REPLACE FUNCTION candles(ticker text, period_minutes int, from_ts timestamptz, to_ts timestamptz)
RETURNS TABLE (end_ts timestamptz, open numeric, high numeric, low numeric, close numeric, volume numeric, trades bigint)
LANGUAGE sql STABLE AS $$
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

CREATE OR REPLACE VIEW candlesticks AS
SELECT c.* FROM (
    SELECT m.ticker, p.period_minutes,
           date_bin(make_interval(mins => p.period_minutes), t.exchange_ts, 'epoch') + make_interval(mins => p.period_minutes) AS end_ts,
           (array_agg(t.yes_price ORDER BY t.exchange_ts, t.ordinal, t.trade_id))[1] * 0.0001 AS open,
           max(t.yes_price) * 0.0001 AS high, min(t.yes_price) * 0.0001 AS low,
           (array_agg(t.yes_price ORDER BY t.exchange_ts DESC, t.ordinal DESC, t.trade_id DESC))[1] * 0.0001 AS close,
           sum(t.count) * 0.01 AS volume, NULL::numeric AS open_interest, 'trades'::text AS source
      FROM store.trades t JOIN store.markets m USING (market) CROSS JOIN (VALUES (1), (60), (1440)) p (period_minutes)
     GROUP BY m.ticker, p.period_minutes, 3) c
 WHERE NOT EXISTS (SELECT FROM store.rest_candles r
                    WHERE r.ticker = c.ticker AND r.period_minutes = c.period_minutes AND r.end_ts = c.end_ts)
UNION ALL
SELECT r.ticker, r.period_minutes, r.end_ts, r.open * 0.0001, r.high * 0.0001, r.low * 0.0001, r.close * 0.0001,
       r.volume * 0.01, r.open_interest * 0.01, 'rest'
  FROM store.rest_candles r;
COMMENT ON COLUMN checks.check_name IS 'books: the changes between two books lead from the one to the other. trades: each trade has its change of the book, and its ordinal. rest_books: REST gave a book that the changes went through.';
