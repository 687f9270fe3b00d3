-- Markets with books to compare, chosen at random; `sealed_until`: up to where, if that is before the end of the stretch.
SELECT m.market, m.ticker, c.sealed_until
  FROM (SELECT market, ticker FROM store.markets m
         WHERE ticker <> '' AND EXISTS (SELECT FROM store.snapshots s WHERE s.market = m.market AND s.exchange_ts >= $1 AND s.exchange_ts < $2)
         ORDER BY random() LIMIT $3) m
  LEFT JOIN coverage c ON c.ticker = m.ticker AND c.channel = 'orderbook_delta' AND c.sealed_until < $2
       AND (c.ended_at IS NULL OR c.sealed_until < c.ended_at)
