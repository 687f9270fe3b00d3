-- Lifecycle messages, as the feed's columns have them.
SELECT market, event_type, (extract(epoch FROM exchange_ts) * 1000)::bigint, payload::text, (extract(epoch FROM received_at) * 1000000)::bigint
  FROM store.lifecycle
