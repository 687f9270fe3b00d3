WITH gone AS (
    DELETE FROM store.late_deltas WHERE exchange_ts >= $1 AND exchange_ts < $2 AND stored_at <= $3 RETURNING 1
)
UPDATE store.detached SET late_rows = late_rows + (SELECT count(*) FROM gone)
 WHERE day = ($1::timestamptz AT TIME ZONE 'UTC')::date AND EXISTS (TABLE gone)
