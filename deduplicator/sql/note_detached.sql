INSERT INTO store.detached (day, rows)
SELECT $1::date, count(*) FROM store.deltas
 WHERE exchange_ts >= $1::timestamp AT TIME ZONE 'UTC' AND exchange_ts < ($1::date + 1)::timestamp AT TIME ZONE 'UTC'
ON CONFLICT DO NOTHING
