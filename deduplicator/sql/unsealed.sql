SELECT m.market, c.ticker, c.sealed_until FROM coverage c JOIN store.markets m USING (ticker)
 WHERE c.channel = 'orderbook_delta' AND c.first_seen < $1 AND c.sealed_until < $1
   AND (c.ended_at IS NULL OR c.sealed_until < c.ended_at)
 ORDER BY c.ticker
