DELETE FROM listed_markets WHERE ticker = ANY ($1::text[])
