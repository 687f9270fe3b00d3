-- name: step
-- The last step of production.
SELECT step FROM store.lease

-- name: all_deltas
-- All changes, as production shows them.
SELECT ticker, exchange_ts, ordinal, side, price, delta, exchange_us FROM orderbook_deltas

-- name: all_trades
-- All trades, as production shows them.
SELECT trade_id, ticker, exchange_ts, ordinal, yes_price, count, taker_side, is_block FROM trades

-- name: book
-- A market's book as it is now.
SELECT * FROM book_at($1, now())

-- name: unplaced
-- All rows that have no place.
SELECT * FROM unplaced_deltas

-- name: conflicts
-- Where copies of changes contradicted each other.
SELECT ticker, exchange_ts FROM merge_conflicts WHERE kind = 'conflict' AND exchange_ts IS NOT NULL

-- name: conflict_counts
-- How many contradictions of each kind there are.
SELECT kind, count(*) AS n FROM merge_conflicts GROUP BY kind

-- name: lifecycle_counts
-- How many lifecycle messages of each type there are of each market.
SELECT ticker, event_type, count(*) AS events FROM lifecycle_events GROUP BY ticker, event_type

-- name: gap_counts
-- How many open gaps there are by channel and reason, of those that began by a moment.
SELECT channel, reason, count(*) AS gaps FROM coverage_gaps WHERE healed_at IS NULL AND started_at <= $1 GROUP BY channel, reason

-- name: open_gaps
-- All open gaps.
SELECT ticker, channel, started_at, ended_at, reason FROM coverage_gaps WHERE healed_at IS NULL

-- name: hour_of_deltas
-- Changes of an hour, as an export has them.
SELECT ticker, exchange_ts, ordinal, side, price, delta, exchange_us, received_at
  FROM orderbook_deltas WHERE exchange_ts >= $1 AND exchange_ts < $2
 ORDER BY ticker COLLATE "C", exchange_ts, ordinal

-- name: hour_of_openings
-- The book of every market at the beginning of the hour: what an hour needs to be replayed alone.
SELECT m.ticker, $1::timestamptz AS exchange_ts, CASE f.side WHEN 0 THEN 'yes' ELSE 'no' END AS side,
       f.price * 0.0001 AS price, f.size * 0.01 AS size
  FROM (SELECT market FROM store.lines WHERE ended_at IS NULL OR ended_at > $1
        UNION ALL
        SELECT market FROM store.held h
         WHERE h.ended_at > $1 AND NOT EXISTS (SELECT FROM store.lines l WHERE l.market = h.market)) alive
  JOIN store.markets m USING (market), store.fold(m.market, $1::timestamptz - interval '1 millisecond') f
 WHERE m.ticker <> '' AND $2::timestamptz > $1
 ORDER BY m.ticker COLLATE "C", f.side DESC, f.price
