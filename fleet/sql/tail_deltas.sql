SELECT concat_ws(' ', d.ticker, d.exchange_ts, d.ordinal) AS id, d.exchange_ts, d.ticker, d.ordinal, d.side, d.price, d.delta
  FROM orderbook_deltas d WHERE d.exchange_ts >= $1 AND ($2::text IS NULL OR d.ticker = $2) ORDER BY d.exchange_ts, d.ticker, d.ordinal LIMIT 10000
