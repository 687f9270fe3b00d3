-- Three days of two busy markets among a thousand quiet ones; the partitions are there.
INSERT INTO store.markets (ticker) SELECT 'KX' || chr(65 + n % 26) || '-' || n FROM generate_series(1, 1000) n;
UPDATE store.lines SET first_seen = '2026-11-20';
UPDATE store.markets SET ticker = 'KXA-1' WHERE market = 1;
INSERT INTO markets (ticker, open_time, updated_at, raw)
SELECT ticker, '2026-11-20', now(), jsonb_build_object('ticker', ticker, 'event_ticker', split_part(ticker, '-', 1))
  FROM store.markets;
INSERT INTO events (ticker, updated_at, raw)
SELECT DISTINCT split_part(ticker, '-', 1), now(),
       jsonb_build_object('series_ticker', split_part(ticker, '-', 1)) FROM store.markets ON CONFLICT DO NOTHING;
INSERT INTO store.deltas
SELECT CASE WHEN n % 2 = 0 THEN 1 ELSE 1 + n % 1000 END, timestamptz '2026-11-20' + n * interval '4 seconds', 0, -1,
       n % 2, 100 * (1 + n % 50), 100, now() FROM generate_series(0, 64000) n;
INSERT INTO store.trades
SELECT gen_random_uuid(), 1 + n % 1000, timestamptz '2026-11-20' + n * interval '12 seconds', 5000, 100, 0, false,
       now(), 'ws' FROM generate_series(0, 21000) n;
INSERT INTO store.tickers (market, exchange_ts, content, price, yes_bid, yes_ask, volume, received_at)
SELECT 1 + n % 1000, timestamptz '2026-11-20' + n * interval '12 seconds', gen_random_uuid(), 5000, 4900, 5100, 5,
       now() FROM generate_series(0, 21000) n;
INSERT INTO store.gatherers (gatherer_id, instance) VALUES ('gatherer-a', gen_random_uuid());
INSERT INTO store.slices VALUES (1, 0, 1, 1, 1, 'orderbook_delta', '2026-11-23', false, '');
INSERT INTO store.runs SELECT 1, 0, market, 1, market, '2026-11-20', NULL, false, '' FROM store.markets;
INSERT INTO store.lifecycle VALUES (1, 'created', now(), '{}', gen_random_uuid(), now());
UPDATE markets SET raw = raw || '{"status": "active"}' WHERE ticker = 'KXA-1';
UPDATE markets SET raw = raw || '{"status": "closed"}' WHERE ticker = 'KXA-1';
