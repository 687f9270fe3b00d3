UPDATE store.lines SET over = true WHERE market = ANY ($1::bigint[]) AND NOT over
