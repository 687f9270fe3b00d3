-- When each market's order book is first claimed by any gatherer.
SELECT m.ticker, min(c.from_ts) AS claimed_at
  FROM store.claims c JOIN store.markets m USING (market)
 WHERE c.channel = 'orderbook_delta' AND m.ticker <> ''
 GROUP BY m.ticker
