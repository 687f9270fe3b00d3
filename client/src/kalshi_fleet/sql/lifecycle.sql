SELECT ticker, event_type, (extract(epoch FROM exchange_ts) * 1000)::bigint AS exchange_ts, payload,
       (extract(epoch FROM received_at) * 1000000)::bigint AS received_at
  FROM lifecycle_events
 WHERE ticker = ANY($1::text[]) AND received_at >= $2 AND received_at < $3
 ORDER BY 5, ticker COLLATE "C", 3, event_type, payload::text COLLATE "C"
