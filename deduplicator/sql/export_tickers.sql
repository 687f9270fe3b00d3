SELECT ticker, exchange_ts, price, yes_bid, yes_ask, yes_bid_size, yes_ask_size, volume, open_interest, received_at
  FROM tickers WHERE exchange_ts >= $1 AND exchange_ts < $2
 ORDER BY ticker, exchange_ts, received_at, price, yes_bid, yes_ask, yes_bid_size, yes_ask_size, volume, open_interest
