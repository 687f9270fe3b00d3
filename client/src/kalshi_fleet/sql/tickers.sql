SELECT ticker, (extract(epoch FROM exchange_ts) * 1000)::bigint AS exchange_ts, price, yes_bid, yes_ask, yes_bid_size,
       yes_ask_size, volume, open_interest, (extract(epoch FROM received_at) * 1000000)::bigint AS received_at
  FROM tickers
 WHERE ticker = ANY($1::text[]) AND exchange_ts >= $2 AND exchange_ts < $3
 ORDER BY 2, ticker COLLATE "C", received_at
