-- The trades that nobody recorded.
WITH new AS (
    INSERT INTO store.trades (trade_id, market, exchange_ts, yes_price, count, taker_side, is_block, received_at, source)
    SELECT r.trade_id, r.market, r.exchange_ts, r.yes_price, r.count, r.taker_side, r.is_block, now(), 'rest'
      FROM pg_temp.rest_trades r
     WHERE NOT EXISTS (SELECT FROM store.trades t
                        WHERE t.trade_id = r.trade_id
                          AND t.exchange_ts BETWEEN r.exchange_ts - interval '1 day' AND r.exchange_ts + interval '1 day')
    RETURNING trade_id, market, exchange_ts, ordinal, yes_price, count, taker_side, is_block, received_at, source
)
SELECT new.*,
       -- Missing within coverage: a gatherer claims that moment of the trade channel. Before the first claim nobody does.
       EXISTS (SELECT FROM store.claims c
                WHERE c.channel = 'trade' AND c.from_ts <= new.exchange_ts AND new.exchange_ts < c.to_ts
                  AND c.market = (SELECT market FROM store.markets WHERE ticker = '')) AS outside
  FROM new
