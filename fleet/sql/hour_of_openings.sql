-- The book of every market at the beginning of the hour: what an hour needs to be replayed alone.
SELECT m.ticker, $1::timestamptz AS exchange_ts, CASE f.side WHEN 0 THEN 'yes' ELSE 'no' END AS side,
       f.price * 0.0001 AS price, f.size * 0.01 AS size
  FROM store.markets m, store.fold(m.market, $1::timestamptz - interval '1 millisecond') f
 WHERE m.ticker <> '' AND $2::timestamptz > $1 AND (m.ended_at IS NULL OR m.ended_at > $1)
 ORDER BY m.ticker COLLATE "C", f.side DESC, f.price
