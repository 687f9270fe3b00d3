SELECT ticker, (extract(epoch FROM exchange_ts) * 1000)::bigint AS exchange_ts, ordinal, side, price, delta, exchange_us,
       (extract(epoch FROM received_at) * 1000000)::bigint AS received_at
  FROM orderbook_deltas
 WHERE ticker = ANY($1::text[]) AND exchange_ts >= $2 AND exchange_ts < $3
 ORDER BY 2, ticker COLLATE "C", ordinal
