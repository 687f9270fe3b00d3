-- The book of every market at the beginning of the hour: what an hour needs to be replayed alone.
SELECT m.ticker, $1::timestamptz AS exchange_ts, CASE f.side WHEN 0 THEN 'yes' ELSE 'no' END AS side,
       f.price * 0.0001 AS price, f.size * 0.01 AS size
  FROM (SELECT market FROM store.lines WHERE ended_at IS NULL OR ended_at > $1
        UNION ALL
        SELECT market FROM store.held h
         WHERE h.ended_at > $1 AND NOT EXISTS (SELECT FROM store.lines l WHERE l.market = h.market)) alive
  JOIN store.markets m USING (market), store.fold(m.market, $1::timestamptz - interval '1 millisecond') f
 WHERE m.ticker <> '' AND $2::timestamptz > $1
 ORDER BY m.ticker COLLATE "C", f.side DESC, f.price
