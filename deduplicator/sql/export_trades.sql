-- In the exchange's order. $3, $4: trades and their ordinals that production does not have yet.
SELECT t.trade_id::text, t.ticker, t.exchange_ts, CASE WHEN p.trade_id IS NULL THEN t.ordinal ELSE p.ordinal END AS ordinal,
       t.yes_price, t.count, t.taker_side, t.is_block, t.received_at, t.source
  FROM trades t LEFT JOIN unnest($3::uuid[], $4::int[]) p (trade_id, ordinal) ON p.trade_id = t.trade_id
 WHERE t.exchange_ts >= $1 AND t.exchange_ts < $2
 ORDER BY t.ticker COLLATE "C", t.exchange_ts, 4 NULLS LAST, t.trade_id
