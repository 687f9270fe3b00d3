-- What an export found of trades whose changes have left production.
UPDATE store.trades t SET ordinal = p.ordinal
  FROM unnest($1::uuid[], $2::timestamptz[], $3::int[]) p (trade_id, exchange_ts, ordinal)
 WHERE t.trade_id = p.trade_id AND t.exchange_ts = p.exchange_ts
RETURNING t.trade_id, t.market, t.exchange_ts, t.ordinal
