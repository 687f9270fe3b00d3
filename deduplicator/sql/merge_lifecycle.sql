-- Equal content within 30 seconds is one event.
WITH copies AS (
    SELECT market, event_type, payload, received_at, md5(market || event_type || payload::text)::uuid AS content
      FROM pg_temp.lifecycle_copies
), firsts AS (
    SELECT *, lag(received_at) OVER (PARTITION BY content ORDER BY received_at) AS before FROM copies
)
INSERT INTO store.lifecycle (market, event_type, exchange_ts, payload, content, received_at)
SELECT f.market, f.event_type,
       (SELECT timestamptz 'epoch' + t.said::bigint * interval '1 second'
          FROM (SELECT coalesce(f.payload ->> 'settled_ts', f.payload ->> 'determination_ts') AS said) t
         WHERE t.said ~ '^[0-9]{1,11}$'),  -- anything else is no time: the payload keeps it
       f.payload, f.content, f.received_at
  FROM firsts f
 WHERE (f.before IS NULL OR f.received_at - f.before > interval '30 seconds')
   AND NOT EXISTS (SELECT FROM store.lifecycle l
                    WHERE l.content = f.content
                      AND l.received_at BETWEEN f.received_at - interval '30 seconds' AND f.received_at + interval '30 seconds')
RETURNING market, event_type, exchange_ts, payload::text, received_at
