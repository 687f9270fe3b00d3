-- Rows of a gatherer, whichever lane and batch: placed changes with their tickers.
SELECT m.ticker, d.exchange_ms, d.ordinal, d.side, d.price, d.delta
  FROM deltas d JOIN markets m USING (market)
 WHERE d.lane = $1 AND d.batch BETWEEN $2 AND $3 AND d.ordinal >= 0 LIMIT $4
