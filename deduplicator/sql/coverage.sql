-- name: allot_markets
-- The numbers of markets, new ones for tickers that have none; one that has a number uses up no other.
WITH known AS (
    SELECT ticker, market FROM store.markets WHERE ticker = ANY ($1::text[])
), new AS (
    INSERT INTO store.markets (ticker)
    SELECT t FROM unnest($1::text[]) t WHERE NOT EXISTS (SELECT FROM known k WHERE k.ticker = t)
        ON CONFLICT (ticker) DO NOTHING
    RETURNING ticker, market
)
SELECT ticker, market FROM known
UNION ALL
SELECT ticker, market FROM new

-- name: tickers_of
-- The tickers of markets.
SELECT market, ticker FROM store.markets WHERE market = ANY ($1::bigint[])

-- name: put_slices
-- Store slices, and how far they are proven complete.
INSERT INTO store.slices (gatherer, lane, slice, session, sid, channel, horizon, ended, reason)
SELECT * FROM unnest($1::smallint[], $2::smallint[], $3::bigint[], $4::bigint[], $5::int[], $6::text[], $7::timestamptz[],
                     $8::boolean[], $9::text[])
ON CONFLICT (gatherer, lane, slice) DO UPDATE
   SET horizon = excluded.horizon, ended = excluded.ended, reason = excluded.reason

-- name: put_runs
-- Store runs, and what they claim.
INSERT INTO store.runs (gatherer, lane, run, slice, market, cover_from, cover_to, ended, excluded, reason, fixed)
SELECT g, l, r, s, m, f, t, t IS NOT NULL, x, w, z
  FROM unnest($1::smallint[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::timestamptz[],
              $7::timestamptz[], $8::boolean[], $9::text[], $10::boolean[]) y (g, l, r, s, m, f, t, x, w, z)
ON CONFLICT (gatherer, lane, run) DO UPDATE
   SET cover_from = excluded.cover_from, cover_to = excluded.cover_to, ended = excluded.ended,
       excluded = excluded.excluded, reason = excluded.reason, fixed = excluded.fixed

-- name: add_part
-- Store what an excluded run held before its exclusion.
INSERT INTO store.run_parts (gatherer, lane, run, market, channel, from_ts, to_ts) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING

-- name: add_retraction
-- Store what a gatherer (0: none of them in particular) no longer claims.
INSERT INTO store.retractions (market, channel, gatherer, lane, run, from_ts, to_ts, reason)
VALUES ($1, $2, nullif($3, 0), $4, $5, $6, $7, $8)

-- name: undo_retraction
-- Take back what was retracted of a gatherer because copies contradicted each other.
DELETE FROM store.retractions
 WHERE (market, channel, gatherer, from_ts, to_ts, reason) = ($1, 'orderbook_delta', $2, $3, $4, 'conflict')

-- name: add_gaps
-- List gaps.
INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, had)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::jsonb[])

-- name: mark_healed
-- Mark gaps as healed, unless they are.
UPDATE store.gaps g SET healed_at = now()
  FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::timestamptz[]) x (market, channel, started_at, ended_at)
 WHERE (g.market, g.channel, g.started_at, g.ended_at) = (x.market, x.channel, x.started_at, x.ended_at)
   AND g.healed_at IS NULL
RETURNING g.market, g.channel, g.started_at, g.ended_at, g.reason

-- name: touch_stretches
-- Note that the hours of some stretches of time have changed in this step.
SELECT store.touch(ARRAY(
    SELECT DISTINCT h FROM unnest($1::timestamptz[], $2::timestamptz[]) s (from_ts, to_ts), store.hours_within(s.from_ts, s.to_ts) h))

-- name: touch_changes
-- Note that changes were written into these hours in this step; late ones: the last of each market and hour that is long
-- over.
SELECT store.touch_changes($1, $2, $3)

-- name: time_lines
-- Numbered markets that are new or have changed since, with what REST, or the stream, reports of their times: milliseconds,
-- -1 where unknown. Of those that are over only the ones whose end is another one now, or none.
WITH changed AS (
    SELECT market FROM store.lines WHERE seen_at >= $1
    UNION
    SELECT n.market FROM markets m JOIN store.markets n USING (ticker) WHERE m.updated_at >= $1
    UNION
    SELECT market FROM store.lifecycle WHERE stored_at >= $1 AND event_type IN ('determined', 'settled', 'activated')
), times AS (
    SELECT n.market, n.over, n.seen_at, n.first_seen, n.ended_at, m.open_time, m.updated_at AS listed_at,
           CASE WHEN m.status IN ('determined', 'finalized') AND m.close_time IS NOT NULL
                THEN greatest(m.close_time, m.settlement_ts)
                -- REST does not have it (yet): the stream's own word, so that a market ends while the lists cannot be read;
                -- unless the stream took it back, or REST, which may be some minutes old, lists it as open long after.
                ELSE (SELECT max(coalesce(l.exchange_ts, l.received_at)) FROM store.lifecycle l
                       WHERE l.market = n.market AND l.event_type IN ('determined', 'settled')
                         AND (m.status = 'active' AND m.updated_at > l.stored_at + interval '10 minutes') IS NOT TRUE
                         AND NOT EXISTS (SELECT FROM store.lifecycle a
                                          WHERE a.market = l.market AND a.event_type = 'activated' AND a.received_at > l.received_at))
           END AS over_at
      FROM changed JOIN store.market_lines n USING (market) LEFT JOIN markets m USING (ticker)
     WHERE n.ticker <> ''
)
SELECT market, floor(extract(epoch FROM seen_at) * 1000)::bigint,
       coalesce(floor(extract(epoch FROM first_seen) * 1000), -1)::bigint,
       coalesce(floor(extract(epoch FROM ended_at) * 1000), -1)::bigint,
       coalesce(floor(extract(epoch FROM open_time) * 1000), -1)::bigint,
       coalesce(floor(extract(epoch FROM over_at) * 1000), -1)::bigint
  FROM times
 WHERE NOT over OR (over_at > ended_at - interval '60 seconds' AND ended_at > now() - interval '7 days')
       -- It is open again.
    OR (over_at IS NULL AND ended_at IS NOT NULL AND listed_at > now() - interval '7 days')

-- name: reopen_lines
-- Make time lines that were compacted rows of store.lines again.
SELECT store.reopen_lines($1::bigint[])

-- name: put_time_lines
-- Store where time lines begin and end; those that changed are returned.
UPDATE store.lines l SET first_seen = x.first_seen, ended_at = x.ended_at, over = false
  FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[]) x (market, first_seen, ended_at)
 WHERE l.market = x.market AND (l.first_seen, l.ended_at) IS DISTINCT FROM (x.first_seen, x.ended_at)
RETURNING l.market, l.first_seen, l.ended_at

-- name: put_over
-- Mark time lines as over: nothing of them is waited for.
UPDATE store.lines SET over = true WHERE market = ANY ($1::bigint[]) AND NOT over
