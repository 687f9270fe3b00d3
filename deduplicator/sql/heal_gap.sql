UPDATE store.gaps SET healed_at = now()
 WHERE market = $1 AND channel = $2 AND started_at = $3 AND ended_at = $4 AND healed_at IS NULL
