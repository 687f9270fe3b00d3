SELECT market, ((extract(epoch FROM exchange_ts) * 1000)::bigint) AS exchange_ms, ordinal, side, price, delta
  FROM (SELECT market, exchange_ts, ordinal, side, price, delta FROM store.deltas
        UNION ALL SELECT market, exchange_ts, ordinal, side, price, delta FROM store.late_deltas) d
 WHERE exchange_ts >= $1 AND exchange_ts < $2 AND (cardinality($3::bigint[]) = 0 OR market = ANY ($3::bigint[]))
