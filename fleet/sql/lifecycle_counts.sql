SELECT ticker, event_type, count(*) AS events FROM lifecycle_events GROUP BY ticker, event_type
