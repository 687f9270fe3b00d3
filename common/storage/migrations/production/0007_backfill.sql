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

CREATE OR REPLACE VIEW candlesticks AS
SELECT c.* FROM (
    SELECT m.ticker, p.period_minutes,
           date_bin(make_interval(mins => p.period_minutes), t.exchange_ts, 'epoch') + make_interval(mins => p.period_minutes) AS end_ts,
           (array_agg(t.yes_price ORDER BY t.exchange_ts, t.trade_id))[1] * 0.0001 AS open,
           max(t.yes_price) * 0.0001 AS high, min(t.yes_price) * 0.0001 AS low,
           (array_agg(t.yes_price ORDER BY t.exchange_ts DESC, t.trade_id DESC))[1] * 0.0001 AS close,
           sum(t.count) * 0.01 AS volume, NULL::numeric AS open_interest, 'trades'::text AS source
      FROM store.trades t JOIN store.markets m USING (market) CROSS JOIN (VALUES (1), (60), (1440)) p (period_minutes)
     GROUP BY m.ticker, p.period_minutes, 3) c
 WHERE NOT EXISTS (SELECT FROM store.rest_candles r
                    WHERE r.ticker = c.ticker AND r.period_minutes = c.period_minutes AND r.end_ts = c.end_ts)
UNION ALL
SELECT r.ticker, r.period_minutes, r.end_ts, r.open * 0.0001, r.high * 0.0001, r.low * 0.0001, r.close * 0.0001,
       r.volume * 0.01, r.open_interest * 0.01, 'rest'
  FROM store.rest_candles r;
COMMENT ON VIEW candlesticks IS 'Candlesticks of 1, 60 and 1440 minutes: from recorded trades, and where fleet backfill has read the exchange''s own, those. Ask for one ticker; for a part of its time ask candles(), which reads that part only.';
COMMENT ON COLUMN candlesticks.source IS 'trades: made of the trades here. rest: the exchange''s own.';
COMMENT ON COLUMN candlesticks.open_interest IS 'Not known from trades: null.';
