UPDATE store.feed_hours SET archived_at = now(), object = $2 WHERE hour = $1
