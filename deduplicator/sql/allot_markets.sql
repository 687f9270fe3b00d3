WITH new AS (
    INSERT INTO store.markets (ticker) SELECT unnest($1::text[]) ON CONFLICT (ticker) DO NOTHING RETURNING ticker, market
)
SELECT ticker, market FROM new
UNION ALL
SELECT ticker, market FROM store.markets WHERE ticker = ANY ($1::text[])
