SELECT market, (extract(epoch FROM exchange_ts) * 1000)::bigint, ordinal, exchange_us, side, price, delta,
       (extract(epoch FROM received_at) * 1000000)::bigint
  FROM store.late_deltas WHERE exchange_ts >= $1 AND exchange_ts < $2
