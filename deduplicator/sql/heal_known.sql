SELECT market, ((extract(epoch FROM exchange_ts) * 1000)::bigint), ordinal, side, price, delta
  FROM (SELECT market, exchange_ts, ordinal, side, price, delta FROM store.deltas
        UNION ALL SELECT market, exchange_ts, ordinal, side, price, delta FROM store.late_deltas) d
 WHERE market = $1 AND exchange_ts >= $2 AND exchange_ts < $3
