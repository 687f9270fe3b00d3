-- Candlesticks from trades, and the state of events from the latest ticks.

CREATE FUNCTION candles(ticker text, period_minutes int, from_ts timestamptz, to_ts timestamptz)
RETURNS TABLE (end_ts timestamptz, open numeric, high numeric, low numeric, close numeric, volume numeric, trades bigint)
LANGUAGE sql STABLE AS $$
    SELECT date_bin(make_interval(mins => period_minutes), t.exchange_ts, 'epoch') + make_interval(mins => period_minutes),
           (array_agg(t.yes_price ORDER BY t.exchange_ts, t.trade_id))[1] * 0.0001, max(t.yes_price) * 0.0001,
           min(t.yes_price) * 0.0001, (array_agg(t.yes_price ORDER BY t.exchange_ts DESC, t.trade_id DESC))[1] * 0.0001,
           sum(t.count) * 0.01, count(*)
      FROM store.trades t JOIN store.markets m USING (market)
     WHERE m.ticker = candles.ticker AND t.exchange_ts >= from_ts AND t.exchange_ts < to_ts
     GROUP BY 1
     ORDER BY 1
$$;
COMMENT ON FUNCTION candles IS 'Candlesticks of one market from its trades, from the given begin (inclusive) to the end (exclusive); YES prices in dollars. A period without trades has none.';

CREATE VIEW candlesticks AS
SELECT m.ticker, p.period_minutes,
       date_bin(make_interval(mins => p.period_minutes), t.exchange_ts, 'epoch') + make_interval(mins => p.period_minutes) AS end_ts,
       (array_agg(t.yes_price ORDER BY t.exchange_ts, t.trade_id))[1] * 0.0001 AS open,
       max(t.yes_price) * 0.0001 AS high, min(t.yes_price) * 0.0001 AS low,
       (array_agg(t.yes_price ORDER BY t.exchange_ts DESC, t.trade_id DESC))[1] * 0.0001 AS close,
       sum(t.count) * 0.01 AS volume, NULL::numeric AS open_interest, 'trades'::text AS source
  FROM store.trades t JOIN store.markets m USING (market) CROSS JOIN (VALUES (1), (60), (1440)) p (period_minutes)
 GROUP BY m.ticker, p.period_minutes, 3;
COMMENT ON VIEW candlesticks IS 'Candlesticks of 1, 60 and 1440 minutes from trades. Ask for one ticker; for a part of its time ask candles(), which reads that part only.';
COMMENT ON COLUMN candlesticks.end_ts IS 'End of the period (exclusive), UTC.';
COMMENT ON COLUMN candlesticks.open_interest IS 'Not known from trades: null.';

CREATE VIEW event_outcomes_latest AS
SELECT m.event_ticker, e.strike_period, e.strike_date, m.ticker, m.yes_sub_title, m.status, m.result,
       (l.yes_bid + l.yes_ask) * 0.00005 AS implied_yes_mid, l.yes_bid * 0.0001 AS yes_bid, l.yes_ask * 0.0001 AS yes_ask,
       l.price * 0.0001 AS price, l.volume * 0.01 AS volume, l.open_interest * 0.01 AS open_interest, l.exchange_ts
  FROM markets m
  JOIN store.markets n ON n.ticker = m.ticker
  LEFT JOIN events e ON e.ticker = m.event_ticker
 CROSS JOIN LATERAL (SELECT t.* FROM store.tickers t WHERE t.market = n.market
                      ORDER BY t.exchange_ts DESC, t.received_at DESC LIMIT 1) l;
COMMENT ON VIEW event_outcomes_latest IS 'The latest tick of each outcome of an event. Ask for one event_ticker.';
COMMENT ON COLUMN event_outcomes_latest.implied_yes_mid IS 'Middle of the best YES bid and ask, in dollars; null if one side is empty.';

CREATE VIEW event_leader_latest AS
SELECT DISTINCT ON (event_ticker) * FROM event_outcomes_latest
 WHERE implied_yes_mid IS NOT NULL
 ORDER BY event_ticker, implied_yes_mid DESC, ticker;
COMMENT ON VIEW event_leader_latest IS 'The outcome of an event with the highest implied YES mid. Ask for one event_ticker.';
