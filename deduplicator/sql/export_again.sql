UPDATE store.exports SET step = NULL WHERE hour = ANY ($1::timestamptz[])
