-- Hours to export: ended, not yet exported whole, and sealed or waited for; and those that changed since.
WITH hours AS (
    SELECT h AS hour, h + interval '1 hour' AS until
      FROM store.lease, generate_series(date_trunc('hour', fleet_started_at - interval '1 day'), now(), interval '1 hour') h
     WHERE h + interval '1 hour' <= now()
       AND EXISTS (SELECT FROM store.deltas d WHERE d.exchange_ts >= h AND d.exchange_ts < h + interval '1 hour')
), unsealed AS (
    SELECT h.hour, count(c.ticker) AS markets
      FROM hours h LEFT JOIN coverage c
        ON c.channel = 'orderbook_delta' AND c.first_seen < h.until AND c.sealed_until < h.until
       AND (c.ended_at IS NULL OR c.sealed_until < c.ended_at)
     GROUP BY h.hour
)
SELECT h.hour, u.markets AS unsealed
  FROM hours h JOIN unsealed u USING (hour) LEFT JOIN store.exports e USING (hour)
 WHERE CASE WHEN e.hour IS NULL THEN u.markets = 0 OR now() > h.until + $1::interval
            ELSE (NOT e.complete AND u.markets = 0) OR e.delta_rows IS NULL
                 OR EXISTS (SELECT FROM store.gaps g WHERE greatest(g.healed_at, g.refilled_at) > e.exported_at
                               AND g.started_at < h.until AND g.ended_at > h.hour)
                 -- The time of a heal is when its transaction began: it may have been committed behind the export's snapshot.
                 OR EXISTS (SELECT FROM store.gaps g WHERE g.refilled_at > e.exported_at - interval '1 minute'
                               AND g.started_at < h.until AND g.ended_at > h.hour)
                 OR (EXISTS (SELECT FROM store.gaps g WHERE g.healed_at > e.exported_at - interval '10 minutes'
                                AND g.started_at < h.until AND g.ended_at > h.hour)
                     AND e.delta_rows <> (SELECT count(*) FROM store.deltas d
                                           WHERE d.exchange_ts >= h.hour AND d.exchange_ts < h.until)) END
UNION
SELECT date_trunc('hour', exchange_ts, 'UTC'), 0 FROM store.late_deltas
 WHERE date_trunc('hour', exchange_ts, 'UTC') + interval '1 hour' <= now()
 ORDER BY 1
