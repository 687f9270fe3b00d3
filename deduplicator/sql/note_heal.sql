UPDATE store.lease SET heals = heals + 1, healed_rows = healed_rows + $1
