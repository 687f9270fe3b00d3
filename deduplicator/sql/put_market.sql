INSERT INTO markets (ticker, open_time, close_time, settlement_ts, updated_at, raw)
SELECT ticker, (raw ->> 'open_time')::timestamptz, (raw ->> 'close_time')::timestamptz,
       (raw ->> 'settlement_ts')::timestamptz, now(), raw
  FROM unnest($1::text[], $2::jsonb[]) x (ticker, raw)
ON CONFLICT (ticker) DO UPDATE
   SET open_time = excluded.open_time, close_time = excluded.close_time, settlement_ts = excluded.settlement_ts,
       updated_at = excluded.updated_at, raw = excluded.raw
 WHERE markets.raw IS DISTINCT FROM excluded.raw
RETURNING ticker
