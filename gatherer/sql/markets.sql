-- name: listed_markets
-- Markets as REST listed them last.
SELECT ticker, status, open_time, close_time FROM listed_markets

-- name: save_markets
-- Store markets as REST lists them.
INSERT INTO listed_markets (ticker, status, open_time, close_time)
SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[])
ON CONFLICT (ticker) DO UPDATE
   SET status = excluded.status, open_time = excluded.open_time, close_time = excluded.close_time, seen_at = now()

-- name: unlist_markets
-- Forget markets.
DELETE FROM listed_markets WHERE ticker = ANY ($1::text[])

-- name: unlist_over
-- Forget markets that were over when the process before this one ended: no other statement does.
DELETE FROM listed_markets WHERE status IN ('finalized', 'settled')

-- name: moved_markets
-- Which of these markets something was recorded of lately.
SELECT m.ticker FROM markets m
 WHERE m.ticker = ANY ($1::text[])
   AND m.market IN (SELECT market FROM deltas WHERE stored_at > now() - $2::interval
                    UNION ALL SELECT market FROM trades WHERE stored_at > now() - $2::interval
                    UNION ALL SELECT market FROM tickers WHERE stored_at > now() - $2::interval)
