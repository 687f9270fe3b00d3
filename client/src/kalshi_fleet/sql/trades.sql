SELECT trade_id, ticker, (extract(epoch FROM exchange_ts) * 1000)::bigint AS exchange_ts, ordinal, yes_price, count,
       taker_side, is_block, (extract(epoch FROM received_at) * 1000000)::bigint AS received_at, source
  FROM trades
 WHERE ticker = ANY($1::text[]) AND exchange_ts >= $2 AND exchange_ts < $3
 ORDER BY 3, ticker COLLATE "C", ordinal, trade_id
