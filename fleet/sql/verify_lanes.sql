-- How far each lane of a gatherer's instance is stored.
SELECT c.lane, c.batch FROM store.cursors c JOIN store.gatherers g USING (gatherer) WHERE g.instance = $1 AND c.batch > 0
