INSERT INTO listed_markets (ticker, status, open_time, close_time)
SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[])
ON CONFLICT (ticker) DO UPDATE
   SET status = excluded.status, open_time = excluded.open_time, close_time = excluded.close_time, seen_at = now()
