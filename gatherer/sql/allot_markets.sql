INSERT INTO markets (ticker) SELECT unnest($1::text[])
    ON CONFLICT (ticker) DO UPDATE SET used_at = now()
RETURNING ticker, market
