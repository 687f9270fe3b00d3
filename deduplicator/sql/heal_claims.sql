SELECT c.from_ts, c.to_ts, c.gatherer, g.gatherer_id FROM store.claims c JOIN store.gatherers g USING (gatherer)
 WHERE c.market = $1 AND c.channel = 'orderbook_delta'
