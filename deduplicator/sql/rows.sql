-- name: add_day
-- Make the partition of a day of a table, unless it is there.
SELECT store.add_day($1, $2)

-- name: stage
-- Make the tables in which copies of trades, tickers and lifecycle messages wait within the transaction that merges them.
CREATE TEMP TABLE IF NOT EXISTS trade_copies (
    trade_id uuid, market bigint, exchange_ts timestamptz, yes_price int, count bigint, taker_side smallint,
    is_block boolean, received_at timestamptz) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS ticker_copies (
    market bigint, exchange_ts timestamptz, price int, yes_bid int, yes_ask int, yes_bid_size bigint,
    yes_ask_size bigint, volume bigint, open_interest bigint, received_at timestamptz) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS lifecycle_copies (
    market bigint, event_type text, payload jsonb, received_at timestamptz) ON COMMIT DELETE ROWS;

-- name: unstage_trade
-- Empty the table in which copies of trades wait.
TRUNCATE pg_temp.trade_copies

-- name: unstage_ticker
-- Empty the table in which copies of ticks wait.
TRUNCATE pg_temp.ticker_copies

-- name: unstage_lifecycle
-- Empty the table in which copies of lifecycle messages wait.
TRUNCATE pg_temp.lifecycle_copies

-- name: merge_trades
-- Store trades, one row per trade_id, whatever times the copies give; a copy with another content is listed.
INSERT INTO store.trades (trade_id, market, exchange_ts, yes_price, count, taker_side, is_block, received_at, source)
SELECT DISTINCT ON (c.trade_id)
       c.trade_id, c.market, c.exchange_ts, c.yes_price, c.count, c.taker_side, c.is_block, c.received_at, 'ws'
  FROM pg_temp.trade_copies c
 WHERE NOT EXISTS (SELECT FROM store.trades t
                    WHERE t.trade_id = c.trade_id
                      AND t.exchange_ts BETWEEN c.exchange_ts - interval '1 day' AND c.exchange_ts + interval '1 day')
 ORDER BY c.trade_id, c.received_at
RETURNING trade_id, market, exchange_ts, ordinal, yes_price, count, taker_side, is_block, received_at, source

-- name: dispute_trades
-- List copies of trades that differ from what is stored, once each, also if they are read again.
INSERT INTO store.conflicts (kind, market, exchange_ts, versions)
SELECT 'trade', t.market, t.exchange_ts, jsonb_build_array(to_jsonb(t), to_jsonb(c))
  FROM pg_temp.trade_copies c JOIN store.trades t USING (trade_id)
 WHERE t.exchange_ts BETWEEN c.exchange_ts - interval '1 day' AND c.exchange_ts + interval '1 day'
   AND (t.market, t.exchange_ts, t.yes_price, t.count, t.taker_side, t.is_block)
       IS DISTINCT FROM (c.market, c.exchange_ts, c.yes_price, c.count, c.taker_side, c.is_block)
   AND NOT EXISTS (SELECT FROM store.conflicts x
                    WHERE x.kind = 'trade' AND x.market = t.market AND x.exchange_ts = t.exchange_ts
                      AND x.versions -> 1 = to_jsonb(c))
RETURNING kind, market, exchange_ts, versions::text

-- name: place_trade_copies
-- Give this step's trades their ordinals, new ones or further copies: one that has its place already keeps it.
SELECT p.* FROM (SELECT array_agg(market) AS markets, array_agg(exchange_ts) AS times FROM pg_temp.trade_copies WHERE NOT is_block) c,
       store.give_ordinals(c.markets, c.times) p

-- name: give_ordinals
-- Give trades in these milliseconds of markets the ordinals of their twins; those that changed are returned.
SELECT * FROM store.give_ordinals($1, $2)

-- name: trades_within
-- What trades of some stretches of time take from the book: the maker's side and price. Ordinal -1: none yet. $3 and $4, first
-- and last of all, leave other days' partitions alone from the start.
SELECT t.market, t.exchange_ts, coalesce(t.ordinal, -1), (1 - t.taker_side)::smallint,
       CASE t.taker_side WHEN 1 THEN t.yes_price ELSE 10000 - t.yes_price END, t.count
  FROM unnest($1::timestamptz[], $2::timestamptz[]) stretch (first, last)
  JOIN store.trades t ON t.exchange_ts BETWEEN stretch.first AND stretch.last
 WHERE NOT t.is_block AND t.exchange_ts BETWEEN $3::timestamptz AND $4::timestamptz

-- name: merge_tickers
-- Store ticks, a union by (market, time, content): the channel is not numbered, so nothing more can be known.
INSERT INTO store.tickers (market, exchange_ts, content, price, yes_bid, yes_ask, yes_bid_size, yes_ask_size, volume,
                           open_interest, received_at)
SELECT market, exchange_ts,
       md5(concat_ws(',', coalesce(price::text, '-'), coalesce(yes_bid::text, '-'), coalesce(yes_ask::text, '-'),
                     coalesce(yes_bid_size::text, '-'), coalesce(yes_ask_size::text, '-'), coalesce(volume::text, '-'),
                     coalesce(open_interest::text, '-')))::uuid,
       price, yes_bid, yes_ask, yes_bid_size, yes_ask_size, volume, open_interest, received_at
  FROM pg_temp.ticker_copies ORDER BY received_at
ON CONFLICT (market, exchange_ts, content) DO NOTHING
RETURNING market, exchange_ts, price, yes_bid, yes_ask, yes_bid_size, yes_ask_size, volume, open_interest, received_at

-- name: merge_lifecycle
-- Store lifecycle messages: equal content within 30 seconds is one event.
WITH copies AS (
    SELECT market, event_type, payload, received_at, md5(market || event_type || payload::text)::uuid AS content
      FROM pg_temp.lifecycle_copies
), firsts AS (
    SELECT *, lag(received_at) OVER (PARTITION BY content ORDER BY received_at) AS before FROM copies
)
INSERT INTO store.lifecycle (market, event_type, exchange_ts, payload, content, received_at)
SELECT f.market, f.event_type,
       (SELECT timestamptz 'epoch' + t.stated::bigint * interval '1 second'
          FROM (SELECT coalesce(f.payload ->> 'settled_ts', f.payload ->> 'determination_ts') AS stated) t
         WHERE t.stated ~ '^[0-9]{1,11}$'),  -- anything else is no time: the payload keeps it
       f.payload, f.content, f.received_at
  FROM firsts f
 WHERE (f.before IS NULL OR f.received_at - f.before > interval '30 seconds')
   AND NOT EXISTS (SELECT FROM store.lifecycle l
                    WHERE l.content = f.content
                      AND l.received_at BETWEEN f.received_at - interval '30 seconds' AND f.received_at + interval '30 seconds')
RETURNING market, event_type, exchange_ts, payload::text, received_at

-- name: add_unplaced
-- Store rows without a place. A part of a journal that was loaded again brings the same rows: they are kept once.
INSERT INTO store.unplaced (gatherer, session, sid, seq, lane, run, market, exchange_ts, exchange_us, side, price, delta, received_at)
SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::int[], $4::bigint[], $5::smallint[], $6::bigint[], $7::bigint[],
                     $8::timestamptz[], $9::smallint[], $10::smallint[], $11::int[], $12::bigint[], $13::timestamptz[])
ON CONFLICT (gatherer, session, sid, seq, run) DO NOTHING
RETURNING gatherer, session, sid, seq, lane, run, market, exchange_ts, exchange_us, side, price, delta, received_at

-- name: judge_unplaced
-- Mark unplaced rows that contradict what covers them: they are compared no more.
UPDATE store.unplaced u SET judged = true
  FROM unnest($1::smallint[], $2::bigint[], $3::int[], $4::bigint[], $5::bigint[]) x (gatherer, session, sid, seq, run)
 WHERE (u.gatherer, u.session, u.sid, u.seq, u.run) = (x.gatherer, x.session, x.sid, x.seq, x.run)
RETURNING u.gatherer, u.session, u.sid, u.seq, u.lane, u.run, u.market, u.exchange_ts, u.exchange_us, u.side, u.price, u.delta, u.received_at

-- name: remove_unplaced
-- Remove unplaced rows that have found their places.
DELETE FROM store.unplaced u
 USING unnest($1::smallint[], $2::bigint[], $3::int[], $4::bigint[], $5::bigint[]) x (gatherer, session, sid, seq, run)
 WHERE (u.gatherer, u.session, u.sid, u.seq, u.run) = (x.gatherer, x.session, x.sid, x.seq, x.run)
RETURNING u.gatherer, u.session, u.sid, u.seq, u.lane, u.run, u.market, u.exchange_ts, u.exchange_us, u.side, u.price, u.delta, u.received_at

-- name: add_conflict
-- List a contradiction, once, also if what contradicts is read again.
INSERT INTO store.conflicts (kind, market, exchange_ts, versions)
SELECT $1::text, $2::bigint, $3::timestamptz, $4::jsonb
 WHERE NOT EXISTS (SELECT FROM store.conflicts c WHERE (c.kind, c.market, c.exchange_ts, c.versions) = ($1, $2, $3, $4::jsonb))
RETURNING kind, market, exchange_ts, versions::text

-- name: add_quarantine
-- Store what became no row, once, also if it is read again: after a gatherer's database was put back, or from a part of a
-- journal that was reloaded.
INSERT INTO store.quarantine (gatherer, session, sid, seq, reason, received_at, frame)
SELECT $1::smallint, $2::bigint, $3::int, $4::bigint, $5, $6::timestamptz, $7
 WHERE NOT EXISTS (SELECT FROM store.quarantine q
                    WHERE (q.gatherer, q.session, q.sid, q.seq, q.received_at) = ($1, $2, $3, $4, $6) AND q.frame = $7)
