-- Every trade takes a resting order away: the same millisecond, the maker's side and price, minus the count. Its ordinal is
-- that of this change, and no other trade's. Block trades are made off the book. Only where the book is covered.
WITH sold AS (
    SELECT t.market, t.exchange_ts, t.ordinal, 1 - t.taker_side AS side,
           CASE WHEN t.taker_side = 1 THEN t.yes_price ELSE 10000 - t.yes_price END AS price, t.count,
           row_number() OVER (PARTITION BY t.market, t.exchange_ts, t.ordinal) AS nth
      FROM store.trades t
     WHERE t.exchange_ts >= $1 AND t.exchange_ts < $2 AND NOT t.is_block
       AND EXISTS (SELECT FROM store.claims c WHERE c.market = t.market AND c.channel = 'orderbook_delta'
                      AND c.from_ts <= t.exchange_ts AND t.exchange_ts < c.to_ts)
       AND NOT EXISTS (SELECT FROM store.detached g WHERE g.day = (t.exchange_ts AT TIME ZONE 'UTC')::date)
)
SELECT m.ticker, s.exchange_ts, count(*) AS trades, count(d.ordinal) FILTER (WHERE s.nth = 1) AS changes
  FROM sold s JOIN store.markets m USING (market)
  LEFT JOIN store.deltas d ON d.market = s.market AND d.exchange_ts = s.exchange_ts AND d.ordinal = s.ordinal
       AND d.side = s.side AND d.price = s.price AND d.delta = -s.count
 GROUP BY m.ticker, s.market, s.exchange_ts
