-- Days of deltas that are older than retention, and how many of their hours with rows the archive does not have as they are.
SELECT p.day, p.part,
       (SELECT count(*) FROM generate_series(p.day::timestamp AT TIME ZONE 'UTC', (p.day::timestamp AT TIME ZONE 'UTC') + interval '23 hours',
                                             interval '1 hour') h
          LEFT JOIN store.exports e ON e.hour = h
         WHERE EXISTS (SELECT FROM store.deltas d WHERE d.exchange_ts >= h AND d.exchange_ts < h + interval '1 hour')
           AND (e.hour IS NULL
                OR EXISTS (SELECT FROM store.gaps g WHERE greatest(g.healed_at, g.refilled_at) > e.exported_at
                              AND g.started_at < h + interval '1 hour' AND g.ended_at > h))) AS not_archived
  FROM (SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day, c.relname::text AS part
          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'store.deltas'::regclass AND NOT i.inhdetachpending) p
 WHERE (p.day + 1)::timestamp AT TIME ZONE 'UTC' < now() - $1::interval
 ORDER BY p.day
