DELETE FROM store.retractions
 WHERE (market, channel, gatherer, from_ts, to_ts, reason) = ($1, 'orderbook_delta', $2, $3, $4, 'conflict')
