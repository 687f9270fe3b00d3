-- Copies of trades, tickers and lifecycle messages wait here within the transaction that merges them.
CREATE TEMP TABLE IF NOT EXISTS trade_copies (
    trade_id uuid, market bigint, exchange_ts timestamptz, yes_price int, count bigint, taker_side smallint,
    is_block boolean, received_at timestamptz) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS ticker_copies (
    market bigint, exchange_ts timestamptz, price int, yes_bid int, yes_ask int, yes_bid_size bigint,
    yes_ask_size bigint, volume bigint, open_interest bigint, received_at timestamptz) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS lifecycle_copies (
    market bigint, event_type text, payload jsonb, received_at timestamptz) ON COMMIT DELETE ROWS;
