SELECT t.trade_id::text AS id, t.exchange_ts, t.ordinal, t.ticker, t.yes_price, t.count, t.taker_side, t.source
  FROM trades t WHERE t.exchange_ts >= $1 AND ($2::text IS NULL OR t.ticker = $2) ORDER BY t.exchange_ts, t.ticker, t.ordinal NULLS LAST, t.trade_id LIMIT 10000
