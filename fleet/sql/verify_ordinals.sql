-- Groups whose ordinals are not 0, 1, 2 ..., inside what is covered: a change is missing.
SELECT m.ticker, d.exchange_ts, count(*) AS changes, max(d.ordinal) AS greatest
  FROM store.deltas d JOIN store.markets m USING (market)
 WHERE d.exchange_ts >= $1 AND d.exchange_ts < $2
 GROUP BY m.ticker, d.market, d.exchange_ts
HAVING max(d.ordinal) + 1 <> count(*)
   AND EXISTS (SELECT FROM store.claims c WHERE c.market = d.market AND c.channel = 'orderbook_delta'
                  AND c.from_ts <= d.exchange_ts AND d.exchange_ts < c.to_ts)
