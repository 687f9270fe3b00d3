-- Copies that are otherwise than what is stored, once each, also if they are read again.
INSERT INTO store.conflicts (kind, market, exchange_ts, versions)
SELECT 'trade', t.market, t.exchange_ts, jsonb_build_array(to_jsonb(t), to_jsonb(c))
  FROM pg_temp.trade_copies c JOIN store.trades t USING (trade_id)
 WHERE t.exchange_ts BETWEEN c.exchange_ts - interval '1 day' AND c.exchange_ts + interval '1 day'
   AND (t.market, t.exchange_ts, t.yes_price, t.count, t.taker_side, t.is_block)
       IS DISTINCT FROM (c.market, c.exchange_ts, c.yes_price, c.count, c.taker_side, c.is_block)
   AND NOT EXISTS (SELECT FROM store.conflicts x
                    WHERE x.kind = 'trade' AND x.market = t.market AND x.exchange_ts = t.exchange_ts
                      AND x.versions -> 1 = to_jsonb(c))
RETURNING kind, market, exchange_ts, versions::text
