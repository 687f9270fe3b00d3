SELECT trade_id, ticker, exchange_ts, ordinal, yes_price, count, taker_side, is_block FROM trades
