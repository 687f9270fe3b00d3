-- name: known
-- Which of these markets anything is known of.
SELECT ticker FROM markets WHERE ticker = ANY($1::text[])
UNION
SELECT ticker FROM coverage WHERE ticker = ANY($1::text[])

-- name: changes
-- Order-book changes of markets in a stretch of time, by time, market and place.
SELECT ticker, (extract(epoch FROM exchange_ts) * 1000)::bigint AS exchange_ts, ordinal, side, price, delta, exchange_us,
       (extract(epoch FROM received_at) * 1000000)::bigint AS received_at
  FROM orderbook_deltas
 WHERE ticker = ANY($1::text[]) AND exchange_ts >= $2 AND exchange_ts < $3
 ORDER BY 2, ticker COLLATE "C", ordinal

-- name: trades
-- Trades of markets in a stretch of time, in the exchange's order.
SELECT trade_id, ticker, (extract(epoch FROM exchange_ts) * 1000)::bigint AS exchange_ts, ordinal, yes_price, count,
       taker_side, is_block, (extract(epoch FROM received_at) * 1000000)::bigint AS received_at, source
  FROM trades
 WHERE ticker = ANY($1::text[]) AND exchange_ts >= $2 AND exchange_ts < $3
 ORDER BY 3, ticker COLLATE "C", ordinal, trade_id

-- name: tickers
-- Ticks of markets in a stretch of time.
SELECT ticker, (extract(epoch FROM exchange_ts) * 1000)::bigint AS exchange_ts, price, yes_bid, yes_ask, yes_bid_size,
       yes_ask_size, volume, open_interest, (extract(epoch FROM received_at) * 1000000)::bigint AS received_at
  FROM tickers
 WHERE ticker = ANY($1::text[]) AND exchange_ts >= $2 AND exchange_ts < $3
 ORDER BY 2, ticker COLLATE "C", received_at

-- name: lifecycle
-- Lifecycle messages of markets that were received in a stretch of time.
SELECT ticker, event_type, (extract(epoch FROM exchange_ts) * 1000)::bigint AS exchange_ts, payload,
       (extract(epoch FROM received_at) * 1000000)::bigint AS received_at
  FROM lifecycle_events
 WHERE ticker = ANY($1::text[]) AND received_at >= $2 AND received_at < $3
 ORDER BY 5, ticker COLLATE "C", 3, event_type, payload::text COLLATE "C"

-- name: gaps
-- Gaps of markets that reach into a stretch of time, with the time before the fleet's first day.
SELECT ticker, channel, (extract(epoch FROM started_at) * 1000)::bigint AS started_at,
       (extract(epoch FROM ended_at) * 1000)::bigint AS ended_at, reason, book_equal,
       (extract(epoch FROM healed_at) * 1000000)::bigint AS healed_at
  FROM (SELECT ticker, channel, started_at, ended_at, reason, book_equal, healed_at
          FROM coverage_gaps
         WHERE ticker = ANY($1::text[]) AND started_at < $3 AND ended_at > $2
        UNION ALL
        -- Before the fleet's first moment no market has a time line, and nothing is recorded.
        SELECT ticker, channel, timestamptz 'epoch', l.fleet_started_at, 'before_fleet', NULL, NULL
          FROM store.lease l, unnest($1::text[]) t (ticker),
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

-- name: sealed
-- Of each market: up to where the channel is complete or listed; null after its end, when nothing comes any more.
SELECT ticker, CASE WHEN ended_at IS NULL OR sealed_until < ended_at THEN sealed_until END AS sealed_until
  FROM coverage WHERE ticker = ANY($1::text[]) AND channel = $2

-- name: away
-- Days whose changes are in the archive only.
SELECT day FROM store.detached WHERE day >= $1::date AND day <= $2::date ORDER BY day
