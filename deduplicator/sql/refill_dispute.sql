-- Recorded trades whose fields differ from the exchange's list, once each.
INSERT INTO store.conflicts (kind, market, exchange_ts, versions)
SELECT 'trade_rest', t.market, t.exchange_ts, jsonb_build_array(to_jsonb(t), to_jsonb(r))
  FROM pg_temp.rest_trades r JOIN store.trades t USING (trade_id)
 WHERE t.exchange_ts BETWEEN r.exchange_ts - interval '1 day' AND r.exchange_ts + interval '1 day'
   AND (t.market, t.exchange_ts, t.yes_price, t.count, t.taker_side, t.is_block)
       IS DISTINCT FROM (r.market, r.exchange_ts, r.yes_price, r.count, r.taker_side, r.is_block)
   AND NOT EXISTS (SELECT FROM store.conflicts c WHERE c.kind = 'trade_rest' AND c.market = t.market
                      AND c.exchange_ts = t.exchange_ts AND c.versions -> 0 ->> 'trade_id' = t.trade_id::text)
RETURNING kind, market, exchange_ts, versions::text
