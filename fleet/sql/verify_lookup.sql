-- Of changes as a gatherer ($7) has them, those that production lacks or has otherwise, and nobody disputes: from a
-- contradiction's millisecond on a run gives no rows for as long as it claims nothing. Conflicts of other kinds (a trade, a
-- book) keep no change back.
SELECT x.ticker, x.exchange_ts, x.ordinal, d.market IS NOT NULL AS stored
  FROM unnest($1::text[], $2::timestamptz[], $3::int[], $4::smallint[], $5::int[], $6::bigint[])
       x (ticker, exchange_ts, ordinal, side, price, delta)
  LEFT JOIN store.markets m ON m.ticker = x.ticker
  LEFT JOIN store.deltas d ON d.market = m.market AND d.exchange_ts = x.exchange_ts AND d.ordinal = x.ordinal
 WHERE (d.side, d.price, d.delta) IS DISTINCT FROM (x.side, x.price, x.delta)
   AND NOT EXISTS (SELECT FROM store.conflicts c
                    WHERE c.kind = 'conflict' AND c.market = m.market AND c.exchange_ts <= x.exchange_ts
                      AND (c.exchange_ts = x.exchange_ts
                           OR NOT EXISTS (SELECT FROM store.claims k JOIN store.gatherers g USING (gatherer)
                                           WHERE g.instance = $7 AND k.market = m.market AND k.channel = 'orderbook_delta'
                                             AND k.from_ts <= x.exchange_ts AND x.exchange_ts < k.to_ts)))
   AND NOT EXISTS (SELECT FROM store.detached g WHERE g.day = (x.exchange_ts AT TIME ZONE 'UTC')::date)
