UPDATE store.snapshots SET verified = false WHERE market = $1 AND exchange_ts = $2 AND after_ordinal = $3 AND is_reset
RETURNING market, exchange_ts, after_ordinal, is_reset, taken_at, yes, no, verified
