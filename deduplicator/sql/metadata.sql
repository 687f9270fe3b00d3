-- name: put_series
-- Store series as REST lists them; the names of those that changed are returned.
INSERT INTO series (ticker, updated_at, raw) SELECT ticker, now(), raw FROM unnest($1::text[], $2::jsonb[]) x (ticker, raw)
ON CONFLICT (ticker) DO UPDATE SET updated_at = excluded.updated_at, raw = excluded.raw
 WHERE series.raw IS DISTINCT FROM excluded.raw
RETURNING ticker

-- name: put_event
-- Store events as REST lists them; the names of those that changed are returned.
INSERT INTO events (ticker, updated_at, raw) SELECT ticker, now(), raw FROM unnest($1::text[], $2::jsonb[]) x (ticker, raw)
ON CONFLICT (ticker) DO UPDATE SET updated_at = excluded.updated_at, raw = excluded.raw
 WHERE events.raw IS DISTINCT FROM excluded.raw
RETURNING ticker

-- name: put_market
-- Store markets as REST lists them; the tickers of those that changed are returned.
INSERT INTO markets (ticker, open_time, close_time, settlement_ts, updated_at, raw)
SELECT ticker, (raw ->> 'open_time')::timestamptz, (raw ->> 'close_time')::timestamptz,
       (raw ->> 'settlement_ts')::timestamptz, now(), raw
  FROM unnest($1::text[], $2::jsonb[]) x (ticker, raw)
ON CONFLICT (ticker) DO UPDATE
   SET open_time = excluded.open_time, close_time = excluded.close_time, settlement_ts = excluded.settlement_ts,
       updated_at = excluded.updated_at, raw = excluded.raw
 WHERE markets.raw IS DISTINCT FROM excluded.raw
RETURNING ticker

-- name: put_combo_events
-- Store combos' events, from their markets: each combo has an event of its own, and their list has no end.
INSERT INTO events (ticker, updated_at, raw)
SELECT DISTINCT ON (event) event, now(),
       jsonb_build_object('event_ticker', event, 'series_ticker', split_part(event, '-', 1), 'title', raw -> 'title',
                          'from_market', ticker)
  FROM (SELECT ticker, raw, raw ->> 'event_ticker' AS event FROM unnest($1::text[], $2::jsonb[]) x (ticker, raw)) m
 WHERE event LIKE 'KXMVE%'
ON CONFLICT (ticker) DO NOTHING
RETURNING ticker

-- name: markets_missing
-- Markets that the stream has shown within the last hour and that no list has.
SELECT n.ticker FROM store.lines l JOIN store.markets n USING (market)
 WHERE l.seen_at > now() - interval '1 hour' AND n.ticker <> ''
   AND NOT EXISTS (SELECT FROM markets m WHERE m.ticker = n.ticker)
 ORDER BY l.seen_at DESC LIMIT $1

-- name: events_missing
-- Events that markets of the last day name and that no list has shown, without combos'.
SELECT DISTINCT m.event_ticker FROM markets m
 WHERE m.updated_at > now() - interval '1 day' AND m.event_ticker <> '' AND m.event_ticker NOT LIKE 'KXMVE%'
   AND NOT EXISTS (SELECT FROM events e WHERE e.ticker = m.event_ticker)
 LIMIT $1

-- name: any_open_market
-- Whether there is an open market.
SELECT EXISTS (SELECT FROM markets WHERE status = 'active' AND close_time > now())

-- name: load_crawl
-- How far the reading of a list of REST has come.
SELECT began_at, cursor, pages, rows, whole_at, since FROM store.crawls WHERE list = $1

-- name: keep_crawl
-- Store how far the reading of a list of REST has come.
INSERT INTO store.crawls (list, began_at, cursor, pages, rows, whole_at, since) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (list) DO UPDATE
   SET (began_at, cursor, pages, rows, whole_at, since)
     = (excluded.began_at, excluded.cursor, excluded.pages, excluded.rows, excluded.whole_at, excluded.since)

-- name: never_seen
-- Markets that REST lists, that were open within the time, and of whose book the fleet has no run.
SELECT m.ticker FROM markets m
 WHERE m.open_time < $2 AND (m.close_time IS NULL OR m.close_time > $1)
   AND ($3::text IS NULL OR EXISTS (SELECT FROM events e WHERE e.ticker = m.event_ticker AND e.series_ticker = $3))
   AND NOT EXISTS (SELECT FROM store.markets n JOIN store.runs r USING (market) WHERE n.ticker = m.ticker)
   AND NOT EXISTS (SELECT FROM store.market_lines n WHERE n.ticker = m.ticker AND n.held)
 ORDER BY m.ticker

-- name: put_candles
-- Store candles that REST gave; later answers replace earlier ones.
INSERT INTO store.rest_candles (ticker, period_minutes, end_ts, open, high, low, close, volume, open_interest)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (ticker, period_minutes, end_ts) DO UPDATE
   SET (open, high, low, close, volume, open_interest, fetched_at)
     = (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume, excluded.open_interest, now())
