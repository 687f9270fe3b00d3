-- name: known
-- Whether anything was ever seen of a market.
SELECT 1 WHERE EXISTS (SELECT FROM coverage WHERE ticker = $1) OR EXISTS (SELECT FROM markets WHERE ticker = $1)

-- name: book
-- A market's book at a moment.
SELECT * FROM book_at($1, $2)

-- name: market
-- Everything about one market at a glance.
SELECT n.ticker, m.title, m.yes_sub_title, m.status, m.result, m.event_ticker, m.open_time, m.close_time, m.settlement_ts,
       m.volume_fp AS volume, c.first_seen, c.sealed_until, c.ended_at,
       (SELECT count(*) FROM coverage_gaps g WHERE g.ticker = n.ticker AND g.channel = 'orderbook_delta' AND g.healed_at IS NULL
          AND g.reason <> 'before_subscription') AS gaps,
       (SELECT string_agg(gatherer_id, ' ' ORDER BY gatherer_id) FROM coverage_by_gatherer b
         WHERE b.ticker = n.ticker AND b.channel = 'orderbook_delta') AS recorded_by,
       (SELECT max(exchange_ts) FROM store.deltas d WHERE d.market = n.market) AS last_change,
       (SELECT max(exchange_ts) FROM store.trades t WHERE t.market = n.market) AS last_trade,
       (SELECT count(*) FROM store.snapshots s WHERE s.market = n.market AND s.verified) AS snapshots_verified,
       (SELECT count(*) FROM store.snapshots s WHERE s.market = n.market AND s.verified IS FALSE) AS snapshots_false,
       (SELECT count(*) FROM store.unplaced u WHERE u.market = n.market) AS unplaced,
       (SELECT count(*) FROM store.conflicts k WHERE k.market = n.market) AS conflicts
  FROM store.markets n LEFT JOIN markets m USING (ticker)
  LEFT JOIN coverage c ON c.ticker = n.ticker AND c.channel = 'orderbook_delta'
 WHERE n.ticker = $1

-- name: markets_by_volume
-- Markets, the greatest volume first.
SELECT m.ticker, m.status, m.event_ticker, m.yes_sub_title, m.volume_fp AS volume, m.close_time
  FROM markets m
 WHERE ($1::text IS NULL OR m.status = $1)
   AND ($2::text IS NULL OR EXISTS (SELECT FROM events e WHERE e.ticker = m.event_ticker AND e.series_ticker = $2))
 ORDER BY m.volume_fp DESC NULLS LAST, m.ticker LIMIT $3

-- name: markets_by_close
-- Markets, by when they close, the next first.
SELECT m.ticker, m.status, m.event_ticker, m.yes_sub_title, m.volume_fp AS volume, m.close_time
  FROM markets m
 WHERE ($1::text IS NULL OR m.status = $1)
   AND ($2::text IS NULL OR EXISTS (SELECT FROM events e WHERE e.ticker = m.event_ticker AND e.series_ticker = $2))
 ORDER BY m.close_time NULLS LAST, m.ticker LIMIT $3

-- name: markets_by_ticker
-- Markets by ticker.
SELECT m.ticker, m.status, m.event_ticker, m.yes_sub_title, m.volume_fp AS volume, m.close_time
  FROM markets m
 WHERE ($1::text IS NULL OR m.status = $1)
   AND ($2::text IS NULL OR EXISTS (SELECT FROM events e WHERE e.ticker = m.event_ticker AND e.series_ticker = $2))
 ORDER BY m.ticker LIMIT $3

-- name: gaps
-- Gaps of a market, of a channel, for a reason, ending later than a time, open ones only, each if it is given; without a
-- reason no beginnings.
SELECT ticker, channel, started_at, ended_at, reason, book_equal, healed_at FROM coverage_gaps
 WHERE ($1::text IS NULL OR ticker = $1) AND ($2::text IS NULL OR channel = $2)
   AND coalesce(reason = $3, reason <> 'before_subscription') AND ($4::timestamptz IS NULL OR ended_at > $4)
   AND (NOT $5::boolean OR healed_at IS NULL)
 ORDER BY started_at DESC, ticker, channel LIMIT $6

-- name: gap_sums
-- As `gaps`: how many, of how many markets, and how long they are together.
SELECT channel, reason, count(*) AS gaps, count(DISTINCT ticker) AS markets,
       round(sum(extract(epoch FROM ended_at - started_at)), 3) AS market_seconds,
       count(*) FILTER (WHERE healed_at IS NULL) AS open,
       coalesce(round(sum(extract(epoch FROM ended_at - started_at)) FILTER (WHERE healed_at IS NULL), 3), 0) AS open_seconds
  FROM coverage_gaps
 WHERE ($1::text IS NULL OR ticker = $1) AND ($2::text IS NULL OR channel = $2)
   AND coalesce(reason = $3, reason <> 'before_subscription') AND ($4::timestamptz IS NULL OR ended_at > $4)
   AND (NOT $5::boolean OR healed_at IS NULL)
 GROUP BY channel, reason ORDER BY market_seconds DESC, channel, reason

-- name: gap_before_book
-- The last gap before a moment of a market's book, if no book of the exchange is known between the two.
SELECT g.started_at, g.ended_at, g.reason FROM coverage_gaps g
 WHERE g.ticker = $1 AND g.channel = 'orderbook_delta' AND g.healed_at IS NULL AND g.started_at <= $2
   AND g.reason <> 'before_subscription'
   AND NOT EXISTS (SELECT FROM orderbook_snapshots s
                    WHERE s.ticker = $1 AND s.exchange_ts >= g.ended_at AND s.exchange_ts <= $2 AND s.source = 'ws')
 ORDER BY g.started_at DESC LIMIT 1

-- name: consumers
-- Consumers of a gatherer's lanes, and how many batches each has yet to acknowledge.
SELECT c.consumer, c.lane, c.epoch, c.batch AS acknowledged_batch,
       (SELECT max(batch) FROM batches b WHERE b.lane = c.lane) - c.batch AS unacknowledged_batches,
       c.acknowledged_at
  FROM consumers c ORDER BY c.consumer, c.lane

-- name: retire_consumer
-- Remove a consumer, so that retention no longer waits for it.
DELETE FROM consumers WHERE consumer = $1 RETURNING lane

-- name: step
-- The last step of production.
SELECT step FROM store.lease
