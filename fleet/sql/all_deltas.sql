SELECT ticker, exchange_ts, ordinal, side, price, delta, exchange_us FROM orderbook_deltas
