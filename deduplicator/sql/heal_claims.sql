SELECT from_ts, to_ts FROM store.claims WHERE market = $1 AND channel = 'orderbook_delta'
