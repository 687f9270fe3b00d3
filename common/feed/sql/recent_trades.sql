-- A market's last trades, in the exchange's order.
SELECT * FROM (SELECT trade_id, exchange_ts, ordinal, yes_price, count, taker_side, is_block FROM store.trades
                WHERE market = $1 AND exchange_ts >= $2
                ORDER BY exchange_ts DESC, ordinal DESC, trade_id DESC LIMIT $3) t
 ORDER BY exchange_ts, ordinal NULLS LAST, trade_id
