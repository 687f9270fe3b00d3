-- One row per trade_id; whoever has it in another form is listed.
WITH new AS (
    INSERT INTO store.trades (trade_id, market, exchange_ts, yes_price, count, taker_side, is_block, received_at, source)
    SELECT DISTINCT ON (trade_id, exchange_ts)
           trade_id, market, exchange_ts, yes_price, count, taker_side, is_block, received_at, 'ws'
      FROM pg_temp.trade_copies ORDER BY trade_id, exchange_ts, received_at
    ON CONFLICT (trade_id, exchange_ts) DO NOTHING
    RETURNING 1
)
SELECT count(*) FROM new
