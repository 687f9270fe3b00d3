-- A market that was determined may be opened again: the time lines are asked about by either word of the stream.
DROP INDEX store.lifecycle_ends;
CREATE INDEX lifecycle_ends ON store.lifecycle (stored_at) WHERE event_type IN ('determined', 'settled', 'activated');

-- Two servers behind one address put each other's lanes back with every connection.
ALTER TABLE store.cursors ALTER COLUMN readings TYPE int;
ALTER TABLE store.accounts ALTER COLUMN reading TYPE int;
