-- The book of every market at the beginning of the hour: what an hour needs to be replayed alone. `known`: a snapshot
-- stands behind it. An empty book is a row without a level.
SELECT m.ticker, f.side, f.price, f.size,
       EXISTS (SELECT FROM store.snapshots s WHERE s.market = m.market AND s.exchange_ts < $1 AND s.verified IS NOT FALSE) AS known
  FROM (SELECT market FROM store.lines WHERE ended_at IS NULL OR ended_at > $1
        UNION ALL
        SELECT market FROM store.held h
         WHERE h.ended_at > $1 AND NOT EXISTS (SELECT FROM store.lines l WHERE l.market = h.market)) alive
  JOIN store.markets m USING (market)
  LEFT JOIN LATERAL store.fold(m.market, $1::timestamptz - interval '1 millisecond') f ON true
 WHERE m.ticker <> '' AND $2::timestamptz > $1
 ORDER BY m.ticker COLLATE "C", f.side DESC, f.price
