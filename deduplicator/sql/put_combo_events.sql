-- Combos' events, from their markets: each combo has an event of its own, and their list has no end.
INSERT INTO events (ticker, updated_at, raw)
SELECT DISTINCT ON (event) event, now(),
       jsonb_build_object('event_ticker', event, 'series_ticker', split_part(event, '-', 1), 'title', raw -> 'title',
                          'from_market', ticker)
  FROM (SELECT ticker, raw, raw ->> 'event_ticker' AS event FROM unnest($1::text[], $2::jsonb[]) x (ticker, raw)) m
 WHERE event LIKE 'KXMVE%'
ON CONFLICT (ticker) DO NOTHING
RETURNING ticker
