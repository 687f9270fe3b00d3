SELECT ticker, exchange_ts, ordinal, side, price, delta, exchange_us, received_at
  FROM orderbook_deltas WHERE exchange_ts >= $1 AND exchange_ts < $2
 ORDER BY ticker COLLATE "C", exchange_ts, ordinal
