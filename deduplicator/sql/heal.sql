-- name: heal_market
-- Production's number of a market.
SELECT market FROM store.markets WHERE ticker = $1

-- name: heal_step
-- Take the step of this transaction, and with it the lock of the lease.
SELECT store.this_step()

-- name: heal_gatherer
-- Production's number of a gatherer, by the instance of its database.
SELECT gatherer FROM store.gatherers WHERE instance = $1

-- name: heal_first_day
-- The fleet's first day.
SELECT fleet_started_at FROM store.lease

-- name: heal_beginning
-- A market's first gap, as it is before a heal.
SELECT started_at, ended_at FROM store.beginnings WHERE market = $1

-- name: heal_claims
-- What gatherers claim of a market's order book.
SELECT c.from_ts, c.to_ts, c.gatherer, g.gatherer_id FROM store.claims c JOIN store.gatherers g USING (gatherer)
 WHERE c.market = $1 AND c.channel = 'orderbook_delta'

-- name: heal_known
-- A market's changes of a stretch of time by their identities; also those of days that have left.
SELECT market, ((extract(epoch FROM exchange_ts) * 1000)::bigint), ordinal, side, price, delta
  FROM (SELECT market, exchange_ts, ordinal, side, price, delta FROM store.deltas
        UNION ALL SELECT market, exchange_ts, ordinal, side, price, delta FROM store.late_deltas) d
 WHERE market = $1 AND exchange_ts >= $2 AND exchange_ts < $3

-- name: heal_gaps
-- A market's gaps within a stretch of time that a late copy may close.
SELECT started_at, ended_at, reason, had FROM store.gaps
 WHERE market = $1 AND channel = 'orderbook_delta' AND healed_at IS NULL AND reason <> 'step_back'
   AND started_at < $3 AND ended_at > $2

-- name: heal_disputed
-- Whether it is listed already that copies contradict each other in this millisecond.
SELECT EXISTS (SELECT FROM store.conflicts WHERE (kind, market, exchange_ts) = ($1, $2, $3))

-- name: heal_conflicting
-- Runs of a market that a contradiction ended or excluded.
SELECT gatherer, lane, run, cover_from, cover_to FROM store.runs WHERE market = $1 AND reason = 'conflict'

-- name: heal_run
-- Readmit a run that a contradiction had excluded, up to where it ended ($4).
UPDATE store.runs
   SET cover_to = $4, ended = $4::timestamptz IS NOT NULL, excluded = excluded AND $5 = 'conflict', reason = $5
 WHERE gatherer = $1 AND lane = $2 AND run = $3 AND reason = 'conflict'

-- name: heal_regained
-- Runs of a market that were excluded and are readmitted: what they held, and from when on they count again.
SELECT p.gatherer, p.lane, p.run, p.from_ts, p.to_ts, r.cover_from
  FROM store.parts p JOIN store.runs r USING (gatherer, lane, run)
 WHERE p.market = $1 AND p.channel = 'orderbook_delta' AND r.cover_from IS NOT NULL
 ORDER BY p.gatherer, p.lane, p.run, p.from_ts

-- name: heal_retracted
-- What was retracted of single gatherers within a stretch, as copies contradicted each other.
SELECT DISTINCT gatherer, from_ts, to_ts FROM store.retractions
 WHERE market = $1 AND channel = 'orderbook_delta' AND gatherer IS NOT NULL AND reason = 'conflict'
   AND from_ts >= $2 AND to_ts <= $3

-- name: note_heal
-- Count a heal, and the rows that it inserted.
UPDATE store.lease SET heals = heals + 1, healed_rows = healed_rows + $1

-- name: heal_reach
-- Of a gatherer: from when on it still has the rows of its batches, and whether some of the time asked for were dropped
-- unread.
SELECT (SELECT min(loaded_at) FROM batches WHERE NOT emptied) AS since,
       EXISTS (SELECT FROM dropped_unread WHERE to_us >= $1 AND from_us <= $2) AS dropped

-- name: heal_runs
-- Of a gatherer: a market's runs, and how far their slices are proven complete.
SELECT r.lane, r.run, r.slice, r.cover_from_ms, s.session, s.sid, s.channel,
       h.horizon_ms, coalesce(h.ended, false) AS ended, coalesce(h.reason, '') AS reason
  FROM runs r JOIN markets m USING (market) JOIN slices s USING (lane, slice)
  LEFT JOIN LATERAL (SELECT max(horizon_ms) AS horizon_ms, bool_or(ended) AS ended, max(reason) FILTER (WHERE ended) AS reason
                       FROM horizons WHERE lane = r.lane AND slice = r.slice) h ON true
 WHERE m.ticker = $1 AND s.channel = 'orderbook_delta'
 ORDER BY r.lane, r.run

-- name: heal_run_events
-- Of a gatherer: what became of a market's runs, in the order in which it happened.
SELECT e.lane, e.run, e.event, e.from_ms, e.to_ms, e.reason
  FROM run_events e JOIN runs r USING (lane, run) JOIN markets m USING (market)
 WHERE m.ticker = $1
 ORDER BY e.lane, e.batch, e.position

-- name: heal_deltas
-- Of a gatherer: a market's changes of a stretch of time.
SELECT d.run, d.lane::bigint, d.seq, d.exchange_ms, d.ordinal, d.exchange_us, d.side, d.price, d.delta, d.received_us
  FROM deltas d
 WHERE d.market = (SELECT market FROM markets WHERE ticker = $1)
   AND d.exchange_ms >= $2 AND d.exchange_ms < $3 AND d.stored_at >= $4

-- name: heal_beyond
-- Of a gatherer: runs of a market that have changes after the stretch; those were not looked at.
SELECT DISTINCT d.lane, d.run FROM deltas d
 WHERE d.market = (SELECT market FROM markets WHERE ticker = $1) AND d.exchange_ms >= $2 AND d.stored_at >= $3
