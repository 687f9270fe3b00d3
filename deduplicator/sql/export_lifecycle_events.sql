SELECT ticker, event_type, exchange_ts, payload::text AS payload, received_at
  FROM lifecycle_events WHERE received_at >= $1 AND received_at < $2
 ORDER BY ticker, received_at, exchange_ts, event_type, lifecycle_events.payload::text
