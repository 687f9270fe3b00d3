SELECT market, exchange_ts, ordinal, exchange_us, side, price, delta, received_at
  FROM store.late_deltas WHERE exchange_ts >= $1 AND exchange_ts < $2
