-- name: restore_newest
-- The greatest exchange time that is stored.
SELECT newest_exchange_ts FROM store.lease

-- name: restore_slices
-- Slices that have not ended, or of which a run has not.
SELECT * FROM store.slices s
 WHERE NOT s.ended OR EXISTS (SELECT FROM store.runs r
                               WHERE (r.gatherer, r.lane, r.slice) = (s.gatherer, s.lane, s.slice) AND NOT r.ended)

-- name: restore_gatherers
-- The numbers of all gatherers.
SELECT gatherer FROM store.gatherers

-- name: restore_channels
-- The channels of which anything was stored.
SELECT DISTINCT channel FROM store.slices

-- name: restore_open
-- Runs of a gatherer that have not ended and claim something; channels as their places in $1, times in milliseconds.
SELECT r.lane::bigint, r.run, r.slice, r.market, (extract(epoch FROM r.cover_from) * 1000)::bigint,
       array_position($1::text[], s.channel)::bigint, r.fixed::int::bigint
  FROM store.runs r JOIN store.slices s USING (gatherer, lane, slice)
 WHERE r.gatherer = $2 AND NOT r.ended AND r.cover_from IS NOT NULL

-- name: restore_excluded
-- Runs that are excluded, of slices that have not ended.
SELECT r.market, s.channel, r.gatherer, r.lane, r.run, r.slice, r.cover_from, r.cover_to, r.fixed
  FROM store.runs r JOIN store.slices s USING (gatherer, lane, slice)
 WHERE r.excluded AND NOT s.ended

-- name: markets_not_over
-- Markets whose time lines are not over.
SELECT market FROM store.lines WHERE NOT over

-- name: restore_lines
-- Where the time lines of some markets begin and end, as far as that is known.
SELECT m.market, m.first_seen, m.ended_at
  FROM unnest($1::bigint[]) w (market) JOIN store.market_lines m USING (market)
 WHERE m.first_seen IS NOT NULL AND m.ticker <> ''

-- name: restore_held
-- What runs that have ended hold, of some markets; channels as their places in $1, times in milliseconds.
SELECT x.market, array_position($1::text[], x.channel)::bigint, x.gatherer::bigint,
       (extract(epoch FROM lower(x.held)) * 1000)::bigint, (extract(epoch FROM upper(x.held)) * 1000)::bigint
  FROM (SELECT r.market, s.channel, r.gatherer, unnest(range_agg(tstzrange(r.cover_from, r.cover_to))) AS held
          FROM unnest($2::bigint[]) w (market) JOIN store.runs r USING (market)
          JOIN store.slices s USING (gatherer, lane, slice)
         WHERE r.ended AND NOT r.excluded AND r.cover_from < r.cover_to
         GROUP BY r.market, s.channel, r.gatherer
        UNION ALL
        SELECT p.market, p.channel, p.gatherer, tstzrange(p.from_ts, p.to_ts)
          FROM unnest($2::bigint[]) w (market) JOIN store.parts p USING (market)) x

-- name: restore_ends
-- Why a gatherer's last run of a market ended, or was excluded, also after it had ended: the reason of a hole that is
-- waited for. Of some markets; a run that never claimed has no part in it.
SELECT DISTINCT ON (market, channel, gatherer) market, channel, gatherer, reason
  FROM (SELECT r.market, s.channel, r.gatherer,
               CASE WHEN r.ended THEN r.reason ELSE 'conflict' END AS reason,
               CASE WHEN r.ended THEN r.cover_to ELSE r.cover_from END AS at
          FROM unnest($1::bigint[]) w (market) JOIN store.runs r USING (market)
          JOIN store.slices s USING (gatherer, lane, slice)
         WHERE (r.ended OR r.fixed) AND r.cover_from IS NOT NULL
        UNION ALL
        SELECT t.market, t.channel, t.gatherer, t.reason, t.to_ts
          FROM unnest($1::bigint[]) w (market) JOIN store.retractions t USING (market)
         WHERE t.gatherer IS NOT NULL) e
 ORDER BY market, channel, gatherer, at DESC NULLS LAST, (reason = 'conflict') DESC

-- name: restore_gaps
-- Gaps of some markets that are not healed.
SELECT g.market, g.channel, g.started_at, g.ended_at, g.reason, g.had
  FROM unnest($1::bigint[]) w (market) JOIN store.gaps g USING (market)
 WHERE g.healed_at IS NULL

-- name: restore_retractions
-- What was retracted of some markets.
SELECT t.market, t.channel, t.gatherer, t.from_ts, t.to_ts
  FROM unnest($1::bigint[]) w (market) JOIN store.retractions t USING (market)

-- name: restore_unplaced
-- Unplaced rows of some markets that are not judged, and whether their runs followed them past their end.
SELECT u.*, coalesce(r.ended AND NOT r.excluded AND r.cover_to > u.exchange_ts, false) AS followed
  FROM unnest($1::bigint[]) w (market) JOIN store.unplaced u USING (market) LEFT JOIN store.runs r USING (gatherer, lane, run)
 WHERE NOT u.judged

-- name: restore_resets
-- Resets that were seen within a day.
SELECT market, exchange_ts, after_ordinal, taken_at, coalesce(yes, '{}') AS yes, coalesce(no, '{}') AS no
  FROM store.snapshots WHERE is_reset AND taken_at > now() - interval '1 day'

-- name: restore_guests
-- Runs that are not in the merge's state, of which a gatherer reports something more.
SELECT r.gatherer, r.lane, r.run, r.slice, r.market, r.cover_from, r.cover_to, r.ended, r.reason, r.fixed,
       s.session, s.sid, s.channel, s.ended AS slice_ended
  FROM unnest($1::smallint[], $2::smallint[], $3::bigint[]) w (gatherer, lane, run)
  JOIN store.runs r USING (gatherer, lane, run) JOIN store.slices s USING (gatherer, lane, slice)

-- name: load_identities
-- Changes of a stretch of time by their identities, of some markets or ($3 empty) of all; also those of days that have left.
SELECT market, ((extract(epoch FROM exchange_ts) * 1000)::bigint) AS exchange_ms, ordinal, side, price, delta
  FROM (SELECT market, exchange_ts, ordinal, side, price, delta FROM store.deltas
        UNION ALL SELECT market, exchange_ts, ordinal, side, price, delta FROM store.late_deltas) d
 WHERE exchange_ts >= $1 AND exchange_ts < $2 AND (cardinality($3::bigint[]) = 0 OR market = ANY ($3::bigint[]))
