SELECT d.run, d.lane::bigint, d.seq, d.exchange_ms, d.ordinal, d.exchange_us, d.side, d.price, d.delta, d.received_us
  FROM deltas d
 WHERE d.market = (SELECT market FROM markets WHERE ticker = $1)
   AND d.exchange_ms >= $2 AND d.exchange_ms < $3 AND d.stored_at >= $4
