UPDATE store.lease SET newest_exchange_ts = greatest(newest_exchange_ts, $1)
