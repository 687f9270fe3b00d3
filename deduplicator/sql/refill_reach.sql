-- The first recorded trade from a gap's end ($1) to $2: a list that has it has come past the gap. A day at a time, for the
-- partitions; the first day that has one is the last that is read.
SELECT found.at
  FROM generate_series($1::timestamptz, $2::timestamptz, interval '1 day') AS day (begin)
 CROSS JOIN LATERAL (SELECT min(t.exchange_ts) FROM store.trades t
                      WHERE t.source = 'ws' AND t.exchange_ts >= day.begin
                        AND t.exchange_ts < least(day.begin + interval '1 day', $2::timestamptz)) found (at)
 WHERE found.at IS NOT NULL
 LIMIT 1
