-- One row per trade_id, whatever times the copies give; whoever has it in another form is listed.
INSERT INTO store.trades (trade_id, market, exchange_ts, yes_price, count, taker_side, is_block, received_at, source)
SELECT DISTINCT ON (c.trade_id)
       c.trade_id, c.market, c.exchange_ts, c.yes_price, c.count, c.taker_side, c.is_block, c.received_at, 'ws'
  FROM pg_temp.trade_copies c
 WHERE NOT EXISTS (SELECT FROM store.trades t
                    WHERE t.trade_id = c.trade_id
                      AND t.exchange_ts BETWEEN c.exchange_ts - interval '1 day' AND c.exchange_ts + interval '1 day')
 ORDER BY c.trade_id, c.received_at
RETURNING trade_id, market, exchange_ts, ordinal, yes_price, count, taker_side, is_block, received_at, source
