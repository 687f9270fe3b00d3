-- The trades of the exchange's list that have no ordinal yet look for their twins.
SELECT p.* FROM (
       SELECT array_agg(t.market) AS markets, array_agg(t.exchange_ts) AS times
         FROM pg_temp.rest_trades r JOIN store.trades t ON t.trade_id = r.trade_id AND t.exchange_ts = r.exchange_ts
        WHERE t.ordinal IS NULL AND NOT t.is_block) c,
       store.give_ordinals(c.markets, c.times) p
