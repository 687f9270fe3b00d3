-- Hours to export: over, and changed by a step later than the one that the archive's objects show, or not sealed when they
-- were read. An hour that is not sealed yet waits, at first and between two exports. Which markets are sealed is asked for
-- the few hours alone that depend on it: it means to look at all markets. A channel of which nobody ever held anything is
-- not waited for.
WITH hours AS MATERIALIZED (
    SELECT t.hour, t.hour + interval '1 hour' AS until, e.exported_at, coalesce(e.complete, false) AS complete,
           e.step IS NULL OR t.step > e.step AS stale
      FROM store.hours_touched t LEFT JOIN store.exports e USING (hour)
     WHERE t.hour + interval '1 hour' <= now() AND (e.complete IS NOT TRUE OR e.step IS NULL OR t.step > e.step)
), unsealed AS MATERIALIZED (
    SELECT h.hour, h.until, h.exported_at, h.stale, count(c.ticker) AS markets,
           (SELECT count(*) FROM store.channel_seals s WHERE s.sealed_until < h.until) AS channels
      FROM hours h LEFT JOIN coverage c
        ON c.channel = 'orderbook_delta' AND c.first_seen < h.until AND c.sealed_until < h.until
       AND (c.ended_at IS NULL OR c.sealed_until < c.ended_at)
     WHERE NOT h.complete
     GROUP BY h.hour, h.until, h.exported_at, h.stale
)
SELECT hour, markets AS unsealed FROM unsealed u
 WHERE (markets = 0 AND channels = 0 AND NOT EXISTS (SELECT FROM store.reset_votes v WHERE v.taken_at < u.until))
    OR (stale AND now() > coalesce(exported_at, until) + $1::interval)
UNION ALL
SELECT hour, 0 FROM hours WHERE complete
 ORDER BY 1
