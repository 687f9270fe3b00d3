-- name: known
-- Which of these markets anything is known of.
SELECT ticker FROM markets WHERE ticker = ANY($1::text[])
UNION
SELECT ticker FROM coverage WHERE ticker = ANY($1::text[])

-- name: changes
-- Order-book changes of markets (null: of all) in a stretch of time, by time, market and place.
SELECT ticker, (extract(epoch FROM exchange_ts) * 1000)::bigint AS exchange_ts, ordinal, side, price, delta, exchange_us,
       (extract(epoch FROM received_at) * 1000000)::bigint AS received_at
  FROM orderbook_deltas
 WHERE ($1::text[] IS NULL OR ticker = ANY($1::text[])) AND exchange_ts >= $2 AND exchange_ts < $3
 ORDER BY 2, ticker COLLATE "C", ordinal

-- name: trades
-- Trades of markets (null: of all) in a stretch of time, in the exchange's order.
SELECT trade_id, ticker, (extract(epoch FROM exchange_ts) * 1000)::bigint AS exchange_ts, ordinal, yes_price, count,
       taker_side, is_block, (extract(epoch FROM received_at) * 1000000)::bigint AS received_at, source
  FROM trades
 WHERE ($1::text[] IS NULL OR ticker = ANY($1::text[])) AND exchange_ts >= $2 AND exchange_ts < $3
 ORDER BY 3, ticker COLLATE "C", ordinal, trade_id

-- name: tickers
-- Ticks of markets (null: of all) in a stretch of time.
SELECT ticker, (extract(epoch FROM exchange_ts) * 1000)::bigint AS exchange_ts, price, yes_bid, yes_ask, yes_bid_size,
       yes_ask_size, volume, open_interest, (extract(epoch FROM received_at) * 1000000)::bigint AS received_at
  FROM tickers
 WHERE ($1::text[] IS NULL OR ticker = ANY($1::text[])) AND exchange_ts >= $2 AND exchange_ts < $3
 ORDER BY 2, ticker COLLATE "C", received_at

-- name: lifecycle
-- Lifecycle messages of markets (null: of all) that were received in a stretch of time.
SELECT ticker, event_type, (extract(epoch FROM exchange_ts) * 1000)::bigint AS exchange_ts, payload,
       (extract(epoch FROM received_at) * 1000000)::bigint AS received_at
  FROM lifecycle_events
 WHERE ($1::text[] IS NULL OR ticker = ANY($1::text[])) AND received_at >= $2 AND received_at < $3
 ORDER BY 5, ticker COLLATE "C", 3, event_type, payload::text COLLATE "C"

-- name: gaps
-- Gaps of markets (null: of all) that reach into a stretch of time, with the time before the fleet's first day (of all
-- markets: without a ticker).
SELECT ticker, channel, (extract(epoch FROM started_at) * 1000)::bigint AS started_at,
       (extract(epoch FROM ended_at) * 1000)::bigint AS ended_at, reason, book_equal,
       (extract(epoch FROM healed_at) * 1000000)::bigint AS healed_at
  FROM (SELECT ticker, channel, started_at, ended_at, reason, book_equal, healed_at
          FROM coverage_gaps
         WHERE ($1::text[] IS NULL OR ticker = ANY($1::text[])) AND started_at < $3 AND ended_at > $2
        UNION ALL
        -- Before the fleet's first moment no market has a time line, and nothing is recorded.
        SELECT ticker, channel, timestamptz 'epoch', l.fleet_started_at, 'before_fleet', NULL, NULL
          FROM store.lease l, unnest(coalesce($1::text[], '{""}')) t (ticker),
               unnest(ARRAY['orderbook_delta', 'trade', CASE WHEN ticker LIKE 'KXMVE%' THEN 'multivariate_market_lifecycle'
                                                            ELSE 'market_lifecycle_v2' END]) c (channel)
         WHERE $2 < l.fleet_started_at) g
 ORDER BY ticker COLLATE "C", channel, 3, 4, reason

-- name: book
-- A market's book at a moment, the best level of each side first.
SELECT $1::text AS ticker, (extract(epoch FROM $2::timestamptz) * 1000)::bigint AS at, side,
       row_number() OVER (PARTITION BY side ORDER BY price DESC) - 1 AS level, price, size
  FROM book_at($1, $2)
 ORDER BY side DESC, price DESC

-- name: unsealed_books
-- Markets (null: of all) whose order books are not sealed up to a time, and up to where they are.
SELECT ticker AS name, sealed_until FROM coverage
 WHERE ($1::text[] IS NULL OR ticker = ANY($1::text[])) AND channel = 'orderbook_delta'
   AND first_seen < $2 AND sealed_until < $2 AND (ended_at IS NULL OR sealed_until < ended_at)
 ORDER BY ticker COLLATE "C"

-- name: unsealed_channels
-- Channels that carry all markets and are not sealed up to a time, and up to where they are (null: nowhere).
SELECT channel AS name, sealed_until FROM store.channel_seals
 WHERE channel = ANY($1::text[]) AND (sealed_until IS NULL OR sealed_until < $2)
 ORDER BY channel

-- name: present
-- The database's time, and the fleet's first moment.
SELECT now() AS now, fleet_started_at FROM store.lease

-- name: keep_days
-- Keep days from being dropped until the transaction ends.
LOCK TABLE store.deltas IN ACCESS SHARE MODE

-- name: away
-- Days whose changes are in the archive only.
SELECT day FROM store.detached WHERE day >= $1::date AND day <= $2::date ORDER BY day

-- name: hour_changes
-- A market's order-book changes in a stretch of time, in their order.
SELECT exchange_ts, ordinal, side, price, delta FROM store.deltas
 WHERE market = $1::bigint AND exchange_ts >= $2 AND exchange_ts < $3
 ORDER BY exchange_ts, ordinal

-- name: openings
-- Levels of markets that are alive at the beginning of an hour.
SELECT l.ticker, (extract(epoch FROM $2::timestamptz) * 1000)::bigint AS exchange_ts,
       CASE f.side WHEN 0 THEN 'yes' ELSE 'no' END AS side, f.price * 0.0001 AS price, f.size * 0.01 AS size
  FROM store.market_lines l, LATERAL store.fold(l.market, $2::timestamptz - interval '1 millisecond') f
 WHERE l.ticker = ANY($1::text[]) AND (l.ended_at IS NULL OR l.ended_at > $2::timestamptz)

-- name: unopened
-- Markets whose book at a moment is not known here: changes that lead to it are in the archive only.
SELECT m.ticker
  FROM store.markets m, LATERAL store.base_at(m.market, $2::timestamptz - interval '1 millisecond') b
 WHERE m.ticker = ANY($1::text[]) AND NOT b.here
   AND EXISTS (SELECT FROM store.snapshots s WHERE s.market = m.market AND s.source = 'checkpoint' AND s.verified IS FALSE)

-- name: books
-- Books of an hour by their place. A reset that was seen in the hour, but whose place is before it (the market had been
-- quiet), comes as the book that it leaves at the hour's beginning.
SELECT m.ticker, (extract(epoch FROM s.exchange_ts) * 1000)::bigint AS exchange_ts, s.after_ordinal,
       (extract(epoch FROM s.taken_at) * 1000000)::bigint AS taken_at, s.source, store.levels(s.yes)::text AS yes,
       store.levels(s.no)::text AS no, s.verified, s.is_reset
  FROM store.snapshots s JOIN store.markets m USING (market)
 WHERE m.ticker = ANY($1::text[]) AND s.exchange_ts >= $2 AND s.exchange_ts < $3
UNION ALL
SELECT m.ticker, (extract(epoch FROM $2::timestamptz) * 1000)::bigint - 1, 2147483647,
       (extract(epoch FROM r.taken_at) * 1000000)::bigint, 'checkpoint', store.levels(b.yes)::text, store.levels(b.no)::text,
       r.verified, true
  FROM store.snapshots r JOIN store.markets m USING (market),
       LATERAL (SELECT coalesce(array_agg(v ORDER BY price DESC, n) FILTER (WHERE side = 0), '{}') AS yes,
                       coalesce(array_agg(v ORDER BY price DESC, n) FILTER (WHERE side = 1), '{}') AS no
                  FROM store.fold_from(r.market, r.exchange_ts, r.after_ordinal, r.yes, r.no, $2::timestamptz) f,
                       LATERAL (VALUES (1, f.price::bigint), (2, f.size)) level (n, v)) b
 WHERE m.ticker = ANY($1::text[]) AND r.is_reset AND r.verified IS NOT FALSE
   AND r.taken_at >= $2 AND r.taken_at < $3 AND r.exchange_ts < $2

-- name: coverage_hours
-- Hours from one to another: whether the archive has them, and rows of markets (null: of all) in each; changes that have left
-- are not counted.
SELECT (extract(epoch FROM h.at) * 1000)::bigint AS hour, e.hour IS NOT NULL AS in_archive, h.at + interval '1 hour' <= now() AS finished,
       (SELECT count(*) FROM coverage_gaps g
         WHERE ($1::text[] IS NULL OR g.ticker = ANY($1::text[]))
           AND g.started_at < h.at + interval '1 hour' AND g.ended_at > h.at) AS gaps,
       CASE WHEN d.day IS NULL THEN
       (SELECT count(*) FROM store.deltas c
         WHERE ($1::text[] IS NULL OR c.market IN (SELECT m.market FROM store.markets m WHERE m.ticker = ANY($1::text[])))
           AND c.exchange_ts >= h.at AND c.exchange_ts < h.at + interval '1 hour') END AS changes,
       (SELECT count(*) FROM store.trades t
         WHERE ($1::text[] IS NULL OR t.market IN (SELECT m.market FROM store.markets m WHERE m.ticker = ANY($1::text[])))
           AND t.exchange_ts >= h.at AND t.exchange_ts < h.at + interval '1 hour') AS trades
  FROM unnest($2::timestamptz[]) h (at) LEFT JOIN store.exports e ON e.hour = h.at
  LEFT JOIN store.detached d ON d.day = (h.at AT TIME ZONE 'UTC')::date
 ORDER BY h.at

-- name: markets
-- Markets (null: all) as REST lists them, by ticker.
SELECT ticker, event_ticker, market_type, title, status, result, (extract(epoch FROM open_time) * 1000000)::bigint AS open_time,
       (extract(epoch FROM close_time) * 1000000)::bigint AS close_time,
       (extract(epoch FROM settlement_ts) * 1000000)::bigint AS settlement_ts,
       (extract(epoch FROM updated_at) * 1000000)::bigint AS updated_at, raw::text AS raw
  FROM markets WHERE $1::text[] IS NULL OR ticker = ANY($1::text[])
 ORDER BY ticker COLLATE "C"
