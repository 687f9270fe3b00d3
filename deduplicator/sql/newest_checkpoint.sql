SELECT max(exchange_ts) FROM store.snapshots WHERE source = 'checkpoint'
