-- Of changes as a gatherer has them, those that production lacks or has otherwise, and nobody disputes.
SELECT x.ticker, x.exchange_ts, x.ordinal, d.market IS NOT NULL AS stored
  FROM unnest($1::text[], $2::timestamptz[], $3::int[], $4::smallint[], $5::int[], $6::bigint[])
       x (ticker, exchange_ts, ordinal, side, price, delta)
  LEFT JOIN store.markets m ON m.ticker = x.ticker
  LEFT JOIN store.deltas d ON d.market = m.market AND d.exchange_ts = x.exchange_ts AND d.ordinal = x.ordinal
 WHERE (d.side, d.price, d.delta) IS DISTINCT FROM (x.side, x.price, x.delta)
   AND NOT EXISTS (SELECT FROM store.conflicts c WHERE c.market = m.market AND c.exchange_ts <= x.exchange_ts)
   AND NOT EXISTS (SELECT FROM store.detached g WHERE g.day = (x.exchange_ts AT TIME ZONE 'UTC')::date)
