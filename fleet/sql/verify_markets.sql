-- Markets with books to compare, chosen at random.
SELECT market, ticker FROM store.markets m
 WHERE ticker <> '' AND EXISTS (SELECT FROM store.snapshots s WHERE s.market = m.market AND s.exchange_ts >= $1 AND s.exchange_ts < $2)
 ORDER BY random() LIMIT $3
