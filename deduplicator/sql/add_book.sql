INSERT INTO store.snapshots (market, exchange_ts, after_ordinal, is_reset, taken_at, source, yes, no, verified)
VALUES ($1, $2, $3, $4, $5, 'ws', $6, $7, $8)
ON CONFLICT (market, exchange_ts, after_ordinal, is_reset, (source = 'checkpoint')) DO UPDATE
   SET verified = true WHERE excluded.verified AND store.snapshots.verified IS NULL
                         AND store.snapshots.yes = excluded.yes AND store.snapshots.no = excluded.no
