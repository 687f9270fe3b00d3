UPDATE store.exports SET delta_rows = NULL WHERE hour = ANY ($1::timestamptz[])
