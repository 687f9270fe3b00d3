-- name: refills_due
-- Gaps of the trade channel that are over for $1, other than those that wait ($2); those that were tried, after twice as
-- long each time, and after those that were not.
SELECT g.gap, g.started_at, g.ended_at
  FROM store.gaps g LEFT JOIN store.refills r USING (gap)
 WHERE g.channel = 'trade' AND g.healed_at IS NULL AND g.refilled_at IS NULL AND g.ended_at < now() - $1::interval
   AND g.gap <> ALL ($2::bigint[])
   AND (r.tried_at IS NULL OR r.tried_at < now() - least($1::interval * power(2, least(r.tries, 20)), interval '6 hours'))
 ORDER BY coalesce(r.tries, 0), g.gap LIMIT 20

-- name: refill_sealed
-- Up to where the trade channel is covered or listed without a break, from a moment on: beyond it a hole may not be listed yet.
SELECT max(upper(tile)) FROM store.tiled x CROSS JOIN LATERAL unnest(x.tiles) tile
 WHERE x.channel = 'trade' AND tile @> $1::timestamptz

-- name: refill_reach
-- The first recorded trade from a gap's end ($1) to $2: a list that has it has come past the gap. A day at a time, for the
-- partitions; the first day that has one is the last that is read.
SELECT found.at
  FROM generate_series($1::timestamptz, $2::timestamptz, interval '1 day') AS day (begin)
 CROSS JOIN LATERAL (SELECT min(t.exchange_ts) FROM store.trades t
                      WHERE t.source = 'ws' AND t.exchange_ts >= day.begin
                        AND t.exchange_ts < least(day.begin + interval '1 day', $2::timestamptz)) found (at)
 WHERE found.at IS NOT NULL
 LIMIT 1

-- name: stage_refill
-- Make the tables in which the exchange's list of trades waits; those that cannot be read by their ids alone.
CREATE TEMP TABLE IF NOT EXISTS rest_trades (
    trade_id uuid, market bigint, exchange_ts timestamptz, yes_price int, count bigint, taker_side smallint,
    is_block boolean);
CREATE TEMP TABLE IF NOT EXISTS rest_unread (trade_id uuid, exchange_ts timestamptz)

-- name: empty_refill
-- Empty the tables in which the exchange's list of trades waits.
TRUNCATE pg_temp.rest_trades, pg_temp.rest_unread

-- name: refill_known
-- Of the listed trades those that were recorded, and of the recorded ones those that were not listed. Of the listed ones
-- that cannot be read, those that no gatherer recorded and that may be in the gap ($3 to $4).
SELECT (SELECT count(*) FROM pg_temp.rest_trades r WHERE EXISTS (
            SELECT FROM store.trades t WHERE t.trade_id = r.trade_id AND t.source = 'ws'
               AND t.exchange_ts BETWEEN r.exchange_ts - interval '1 day' AND r.exchange_ts + interval '1 day')) AS known,
       (SELECT count(*) FROM store.trades t WHERE t.source = 'ws' AND t.exchange_ts >= $1 AND t.exchange_ts < $2
           AND NOT EXISTS (SELECT FROM pg_temp.rest_trades r WHERE r.trade_id = t.trade_id)
           AND NOT EXISTS (SELECT FROM pg_temp.rest_unread u WHERE u.trade_id = t.trade_id)) AS not_listed,
       (SELECT count(*) FROM pg_temp.rest_unread u
         WHERE (u.exchange_ts IS NULL OR (u.exchange_ts >= $3 AND u.exchange_ts < $4))
           AND NOT EXISTS (SELECT FROM store.trades t WHERE t.trade_id = u.trade_id
                              AND t.exchange_ts >= $1::timestamptz - interval '1 day'
                              AND t.exchange_ts < $2::timestamptz + interval '1 day')) AS unread

-- name: refill_dispute
-- List recorded trades whose fields differ from the exchange's list, once each.
INSERT INTO store.conflicts (kind, market, exchange_ts, versions)
SELECT 'trade_rest', t.market, t.exchange_ts, jsonb_build_array(to_jsonb(t), to_jsonb(r))
  FROM pg_temp.rest_trades r JOIN store.trades t USING (trade_id)
 WHERE t.exchange_ts BETWEEN r.exchange_ts - interval '1 day' AND r.exchange_ts + interval '1 day'
   AND (t.market, t.exchange_ts, t.yes_price, t.count, t.taker_side, t.is_block)
       IS DISTINCT FROM (r.market, r.exchange_ts, r.yes_price, r.count, r.taker_side, r.is_block)
   AND NOT EXISTS (SELECT FROM store.conflicts c WHERE c.kind = 'trade_rest' AND c.market = t.market
                      AND c.exchange_ts = t.exchange_ts AND c.versions -> 0 ->> 'trade_id' = t.trade_id::text)
RETURNING kind, market, exchange_ts, versions::text

-- name: refill_trades
-- Store the trades that no gatherer recorded.
WITH new AS (
    INSERT INTO store.trades (trade_id, market, exchange_ts, yes_price, count, taker_side, is_block, received_at, source)
    SELECT r.trade_id, r.market, r.exchange_ts, r.yes_price, r.count, r.taker_side, r.is_block, now(), 'rest'
      FROM pg_temp.rest_trades r
     WHERE NOT EXISTS (SELECT FROM store.trades t
                        WHERE t.trade_id = r.trade_id
                          AND t.exchange_ts BETWEEN r.exchange_ts - interval '1 day' AND r.exchange_ts + interval '1 day')
    RETURNING trade_id, market, exchange_ts, ordinal, yes_price, count, taker_side, is_block, received_at, source
)
SELECT new.*,
       -- Missing within coverage: a gatherer claims that moment of the trade channel. Before the first claim nobody does.
       EXISTS (SELECT FROM store.claims c
                WHERE c.channel = 'trade' AND c.from_ts <= new.exchange_ts AND new.exchange_ts < c.to_ts
                  AND c.market = (SELECT market FROM store.markets WHERE ticker = '')) AS outside
  FROM new

-- name: place_refilled_trades
-- Give trades of the exchange's list that have no ordinal yet the ordinals of their twins.
SELECT p.* FROM (
       SELECT array_agg(t.market) AS markets, array_agg(t.exchange_ts) AS times
         FROM pg_temp.rest_trades r JOIN store.trades t ON t.trade_id = r.trade_id AND t.exchange_ts = r.exchange_ts
        WHERE t.ordinal IS NULL AND NOT t.is_block) c,
       store.give_ordinals(c.markets, c.times) p

-- name: note_refill
-- Note what a refill found, and mark the gap as refilled if nothing of it is missing.
WITH noted AS (
    INSERT INTO store.refills (gap, tried_at, tries, from_ts, to_ts, listed, known, inserted, outside, not_listed, unread, inserted_at)
    VALUES ($1, now(), 1, $2, $3, $4, $5, $6::bigint, $7, $8, $9, CASE WHEN $6::bigint > 0 THEN now() END)
    ON CONFLICT (gap) DO UPDATE
       SET tried_at = now(), tries = refills.tries + 1, from_ts = excluded.from_ts, to_ts = excluded.to_ts,
           listed = excluded.listed, known = excluded.known, inserted = refills.inserted + excluded.inserted,
           outside = refills.outside + excluded.outside, not_listed = excluded.not_listed, unread = excluded.unread,
           inserted_at = coalesce(excluded.inserted_at, refills.inserted_at)
)
-- $10: the list was seen to go past the gap.
UPDATE store.gaps SET refilled_at = now() WHERE gap = $1 AND $8 = 0 AND $9 = 0 AND $10::boolean AND healed_at IS NULL
RETURNING market, channel, started_at, ended_at, reason
