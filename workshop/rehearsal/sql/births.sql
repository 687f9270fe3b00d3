-- name: first_claims
-- When each market's order book is first claimed by any gatherer.
SELECT m.ticker, min(c.from_ts) AS claimed_at
  FROM store.claims c JOIN store.markets m USING (market)
 WHERE c.channel = 'orderbook_delta' AND m.ticker <> ''
 GROUP BY m.ticker

-- name: results
-- When each market's result came to production; of one that was listed with it from the first on, its last change.
SELECT m.ticker,
       coalesce((SELECT min(c.seen_at) FROM market_changes c
                  WHERE c.ticker = m.ticker AND c.field = 'result' AND c.new ->> 0 <> ''), m.updated_at) AS seen_at
  FROM markets m
 WHERE m.raw ->> 'result' <> ''
