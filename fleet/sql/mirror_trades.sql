-- Trades, as the feed's columns have them.
SELECT trade_id, market, (extract(epoch FROM exchange_ts) * 1000)::bigint, ordinal, yes_price, count, taker_side, is_block,
       (extract(epoch FROM received_at) * 1000000)::bigint, source FROM store.trades
