-- Just the rows that were read for the export: others may have come since, with whatever times.
WITH gone AS (
    DELETE FROM store.late_deltas l
     USING unnest($2::bigint[], $3::timestamptz[], $4::int[]) x (market, exchange_ts, ordinal)
     WHERE (l.market, l.exchange_ts, l.ordinal) = (x.market, x.exchange_ts, x.ordinal)
    RETURNING 1
)
UPDATE store.detached SET late_rows = late_rows + (SELECT count(*) FROM gone)
 WHERE day = ($1::timestamptz AT TIME ZONE 'UTC')::date AND EXISTS (TABLE gone)
