-- The milliseconds of this step's trades, new ones or further copies: what has its place already keeps it.
SELECT p.* FROM (SELECT array_agg(market) AS markets, array_agg(exchange_ts) AS times FROM pg_temp.trade_copies WHERE NOT is_block) c,
       store.give_ordinals(c.markets, c.times) p
