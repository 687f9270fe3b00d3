-- A market's life, as the exchange sent it
SELECT exchange_ts, event_type, payload FROM lifecycle_events WHERE ticker = :ticker ORDER BY received_at
