-- name: step
-- The last step.
SELECT step FROM store.lease

-- name: first_day
-- Set the fleet's first moment.
UPDATE store.lease SET fleet_started_at = $1

-- name: add_day
-- Make the partition of a day of changes.
SELECT store.add_day('deltas', $1)

-- name: add_markets
-- Make so many markets.
INSERT INTO store.markets (market, ticker) OVERRIDING SYSTEM VALUE
SELECT n, 'KXBENCH-' || md5(n::text) FROM generate_series(1, $1) n

-- name: list_markets
-- List markets as REST would, with their times.
INSERT INTO markets (ticker, open_time, close_time, updated_at, raw)
SELECT ticker, $2, $3::timestamptz, now(), jsonb_build_object('ticker', ticker, 'status', 'finalized')
  FROM unnest($1::text[]) ticker

-- name: count_markets
-- How many markets there are.
SELECT count(*) FROM store.markets

-- name: size
-- The size of all tables but some, with their indexes.
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname IN ('store', 'public') AND c.relkind = 'r' AND c.oid <> ALL ($1::regclass[]::oid[])

-- name: size_by_table
-- The size of the largest tables, with their indexes.
SELECT c.oid::regclass::text AS name, pg_total_relation_size(c.oid) AS bytes
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname IN ('store', 'public') AND c.relkind = 'r' ORDER BY 2 DESC LIMIT 12

-- name: received
-- How many changes were received.
SELECT coalesce(sum(received), 0)::bigint FROM store.accounts

-- name: count_stored
-- How many changes are stored.
SELECT count(*) FROM store.deltas

-- name: count_heads
-- How many rows of each of so many copies have no place.
SELECT count(*) / $1 FROM store.unplaced

-- name: all_deltas
-- All changes, with times in microseconds.
SELECT market, (extract(epoch FROM exchange_ts) * 1000000)::bigint, ordinal, exchange_us, side, price, delta,
       (extract(epoch FROM received_at) * 1000000)::bigint
  FROM store.deltas ORDER BY exchange_ts, market, ordinal

-- name: empty_stored
-- Empty the changes.
TRUNCATE store.deltas

-- name: vacuum_deltas
-- Bring the statistics of the changes up to date.
VACUUM ANALYZE store.deltas

-- name: stage
-- Make the table into which every copy is sent.
CREATE UNLOGGED TABLE store.staged (LIKE store.deltas)

-- name: empty_staged
-- Empty the table into which every copy is sent.
TRUNCATE store.staged

-- name: reject_staged
-- Store what is sent, but for what is there.
INSERT INTO store.deltas TABLE store.staged ON CONFLICT DO NOTHING

-- name: unstage
-- Drop the table into which every copy is sent.
DROP TABLE store.staged

-- name: without_triggers
-- Let changes be written without noting which hours they change.
ALTER TABLE store.deltas DISABLE TRIGGER USER

-- name: without_feed
-- Allow steps without a row in the feed.
ALTER TABLE store.lease DISABLE TRIGGER feed_is_complete

-- name: lateness
-- How many changes of a stretch of time there are, and how long after it half and nearly all of them were committed (ms).
SELECT count(*)::bigint AS rows, percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY late_ms) AS ms
  FROM (SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - exchange_ts) * 1000 AS late_ms
          FROM store.deltas WHERE exchange_ts >= $1 AND exchange_ts < $2) d
