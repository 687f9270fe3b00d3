SELECT run, market, seq, exchange_ms, ordinal, exchange_us, side, price, delta, received_us
  FROM deltas WHERE lane = $1 AND batch BETWEEN $2 AND $3 AND stored_at BETWEEN $4 AND $5
