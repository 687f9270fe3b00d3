-- Numbered markets that are new or have changed since, with what REST says of their times (nothing, if it lists them not).
WITH changed AS (
    SELECT n.market FROM store.markets n WHERE n.seen_at >= $1
    UNION
    SELECT n.market FROM markets m JOIN store.markets n USING (ticker) WHERE m.updated_at >= $1
)
SELECT n.market, n.ticker, n.seen_at, n.first_seen, n.ended_at, m.open_time, m.close_time, m.status, m.settlement_ts
  FROM changed JOIN store.markets n USING (market) LEFT JOIN markets m USING (ticker)
 WHERE n.ticker <> '' AND (n.ended_at IS NULL OR n.ended_at > now() - interval '7 days')
