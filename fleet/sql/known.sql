-- Whether anything was ever seen of a market.
SELECT 1 WHERE EXISTS (SELECT FROM coverage WHERE ticker = $1) OR EXISTS (SELECT FROM markets WHERE ticker = $1)
