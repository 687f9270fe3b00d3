-- What became of a market
SELECT seen_at, field, old, new FROM market_changes WHERE ticker = :ticker ORDER BY seen_at
