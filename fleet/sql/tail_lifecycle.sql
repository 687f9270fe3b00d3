SELECT concat_ws(' ', l.ticker, l.event_type, l.received_at) AS id, l.received_at AS exchange_ts, l.ticker, l.event_type, l.payload::text AS payload
  FROM lifecycle_events l WHERE l.received_at >= $1 AND ($2::text IS NULL OR l.ticker = $2) ORDER BY l.received_at LIMIT 10000
