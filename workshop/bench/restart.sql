-- Production as a fleet of three gatherers leaves it with a million markets alive.
INSERT INTO store.gatherers (gatherer_id, instance) SELECT 'gatherer-' || n, gen_random_uuid() FROM generate_series(0, 2) n;
INSERT INTO store.markets (ticker) SELECT 'KXBENCH-26NOV' || n % 30 || '-T' || n FROM generate_series(1, $markets) n;
UPDATE store.lines SET first_seen = now() - interval '1 day', seen_at = now() - interval '1 day';
INSERT INTO store.markets (ticker) VALUES ('') ON CONFLICT DO NOTHING;
INSERT INTO store.slices (gatherer, lane, slice, session, sid, channel, horizon, ended, reason)
SELECT g.gatherer, 0, n, n, 1, 'orderbook_delta', date_trunc('milliseconds', now()), false, ''
  FROM store.gatherers g, generate_series(1, 150) n;
INSERT INTO store.runs (gatherer, lane, run, slice, market, cover_from, cover_to, ended, reason)
SELECT g.gatherer, 0, m.market, 1 + m.market % 150, m.market, date_trunc('milliseconds', now()) - interval '1 day', NULL, false, ''
  FROM store.gatherers g, store.markets m WHERE m.ticker <> '';
INSERT INTO markets (ticker, open_time, updated_at, raw)
SELECT ticker, now() - interval '1 day', now(), jsonb_build_object('ticker', ticker, 'status', 'active')
  FROM store.markets WHERE ticker <> '';
UPDATE store.lease SET fleet_started_at = date_trunc('milliseconds', now()) - interval '1 day';
ANALYZE;
