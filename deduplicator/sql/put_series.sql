INSERT INTO series (ticker, updated_at, raw) SELECT ticker, now(), raw FROM unnest($1::text[], $2::jsonb[]) x (ticker, raw)
ON CONFLICT (ticker) DO UPDATE SET updated_at = excluded.updated_at, raw = excluded.raw
 WHERE series.raw IS DISTINCT FROM excluded.raw
RETURNING ticker
