-- Once, also if what contradicts is read again.
INSERT INTO store.conflicts (kind, market, exchange_ts, versions)
SELECT $1::text, $2::bigint, $3::timestamptz, $4::jsonb
 WHERE NOT EXISTS (SELECT FROM store.conflicts c WHERE (c.kind, c.market, c.exchange_ts, c.versions) = ($1, $2, $3, $4::jsonb))
RETURNING kind, market, exchange_ts, versions::text
