-- The milliseconds of this step's trades, new ones or further copies: what has its place already keeps it.
SELECT store.place_trades(array_agg(market), array_agg(exchange_ts)) FROM pg_temp.trade_copies WHERE NOT is_block
