SELECT trade_id::text, ticker, exchange_ts, yes_price, count, taker_side, is_block, received_at, source
  FROM trades WHERE exchange_ts >= $1 AND exchange_ts < $2 ORDER BY ticker, exchange_ts, trade_id
