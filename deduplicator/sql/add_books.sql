-- Of a place that is known the first book stands; one that confirms it says so.
INSERT INTO store.snapshots (market, exchange_ts, after_ordinal, is_reset, taken_at, source, yes, no, verified)
SELECT DISTINCT ON (market, exchange_ts, after_ordinal, is_reset)
       market, exchange_ts, after_ordinal, is_reset, taken_at, 'ws', nullif(yes::bigint[], '{}'), nullif(no::bigint[], '{}'),
       verified OR (verified IS NULL AND bool_or(verified) OVER same) AS verified
  FROM unnest($1::bigint[], $2::timestamptz[], $3::int[], $4::boolean[], $5::timestamptz[], $6::text[], $7::text[], $8::boolean[])
       WITH ORDINALITY x (market, exchange_ts, after_ordinal, is_reset, taken_at, yes, no, verified, n)
WINDOW same AS (PARTITION BY market, exchange_ts, after_ordinal, is_reset, yes, no)
 ORDER BY market, exchange_ts, after_ordinal, is_reset, n
ON CONFLICT (market, exchange_ts, after_ordinal, is_reset, (source = 'checkpoint')) DO UPDATE
   SET verified = true WHERE excluded.verified AND store.snapshots.verified IS NULL
                         AND (store.snapshots.yes, store.snapshots.no) IS NOT DISTINCT FROM (excluded.yes, excluded.no)
RETURNING market, exchange_ts, after_ordinal, is_reset, taken_at, yes, no, verified
