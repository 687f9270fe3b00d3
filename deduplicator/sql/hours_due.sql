-- Hours to export: ended, not yet exported whole, and sealed or waited for; and those that changed since. Which markets
-- are sealed is asked for the few hours alone that depend on it: it means to look at all markets.
WITH hours AS (
    SELECT h AS hour, h + interval '1 hour' AS until, e.hour IS NOT NULL AS exported, e.exported_at, e.complete, e.delta_rows
      FROM store.lease, generate_series(date_trunc('hour', fleet_started_at - interval '1 day'), now(), interval '1 hour') h
      LEFT JOIN store.exports e ON e.hour = h
     WHERE h + interval '1 hour' <= now()
), open AS MATERIALIZED (
    SELECT hour, until, exported FROM hours h
     WHERE complete IS NOT TRUE
       AND EXISTS (SELECT FROM store.deltas d WHERE d.exchange_ts >= h.hour AND d.exchange_ts < h.until)
), unsealed AS MATERIALIZED (
    SELECT o.hour, o.until, o.exported, count(c.ticker) AS markets
      FROM open o LEFT JOIN coverage c
        ON c.channel = 'orderbook_delta' AND c.first_seen < o.until AND c.sealed_until < o.until
       AND (c.ended_at IS NULL OR c.sealed_until < c.ended_at)
     GROUP BY o.hour, o.until, o.exported
), touched AS (
    -- Hours that a healed gap lies in, or one that REST had trades of, and when that was last.
    SELECT h AS hour, max(g.healed_at) AS healed_at, max(greatest(g.refilled_at, r.inserted_at)) AS refilled_at
      FROM store.gaps g LEFT JOIN store.refills r USING (gap),
           generate_series(date_trunc('hour', g.started_at, 'UTC'), g.ended_at - interval '1 microsecond', interval '1 hour') h
     WHERE g.healed_at IS NOT NULL OR g.refilled_at IS NOT NULL OR r.inserted_at IS NOT NULL
     GROUP BY h
), again AS MATERIALIZED (
    SELECT h.hour, h.until, h.delta_rows,
           -- The time of a heal is when its transaction began: it may have been committed behind the export's snapshot.
           h.delta_rows IS NULL OR greatest(t.healed_at, t.refilled_at) > h.exported_at
           OR t.refilled_at > h.exported_at - interval '1 minute' AS surely
      FROM hours h LEFT JOIN touched t USING (hour)
     WHERE h.exported
       AND (h.delta_rows IS NULL OR greatest(t.healed_at, t.refilled_at) > h.exported_at - interval '10 minutes')
)
SELECT hour, markets AS unsealed FROM unsealed u
 WHERE (markets = 0 AND NOT EXISTS (SELECT FROM store.reset_votes v WHERE v.taken_at < u.until)) OR (NOT exported AND now() > until + $1::interval)
UNION
SELECT hour, 0 FROM again a
 WHERE EXISTS (SELECT FROM store.deltas d WHERE d.exchange_ts >= a.hour AND d.exchange_ts < a.until)
   AND (surely OR delta_rows <> (SELECT count(*) FROM store.deltas d WHERE d.exchange_ts >= a.hour AND d.exchange_ts < a.until))
UNION
SELECT date_trunc('hour', exchange_ts, 'UTC'), 0 FROM store.late_deltas
 WHERE date_trunc('hour', exchange_ts, 'UTC') + interval '1 hour' <= now()
 ORDER BY 1
