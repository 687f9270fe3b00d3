-- Ticks, as the feed's columns have them.
SELECT market, (extract(epoch FROM exchange_ts) * 1000)::bigint, price, yes_bid, yes_ask, yes_bid_size, yes_ask_size, volume,
       open_interest, (extract(epoch FROM received_at) * 1000000)::bigint FROM store.tickers
