CREATE TEMP TABLE IF NOT EXISTS rest_trades (
    trade_id uuid, market bigint, exchange_ts timestamptz, yes_price int, count bigint, taker_side smallint,
    is_block boolean);
CREATE TEMP TABLE IF NOT EXISTS rest_unread (trade_id uuid, exchange_ts timestamptz)
