UPDATE store.lease SET epoch = epoch + 1, holder = $1 RETURNING *
