-- When each market's result came to production; of one that was listed with it from the first on, its last change.
SELECT m.ticker,
       coalesce((SELECT min(c.seen_at) FROM market_changes c
                  WHERE c.ticker = m.ticker AND c.field = 'result' AND c.new ->> 0 <> ''), m.updated_at) AS seen_at
  FROM markets m
 WHERE m.raw ->> 'result' <> ''
