SELECT gatherer_id, session, sid, seq, ticker, exchange_ts, exchange_us, side, price, delta, received_at, reason
  FROM unplaced_deltas WHERE exchange_ts >= $1 AND exchange_ts < $2
 ORDER BY ticker, exchange_ts, gatherer_id, session, sid, seq, side, price, delta, received_at, reason
