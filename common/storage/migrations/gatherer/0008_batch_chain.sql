-- The batches of a lane are a chain: each names the digest of the one before it, and has one of its own. A reader that
-- keeps the digest with its place sees at once that a database was put back, whatever numbers were given since.
ALTER TABLE batches ADD COLUMN previous bytea NOT NULL DEFAULT '', ADD COLUMN digest bytea NOT NULL DEFAULT '';
COMMENT ON COLUMN batches.previous IS 'The digest of the batch before it in its lane; empty: it is the first, or was written by a release without digests.';
COMMENT ON COLUMN batches.digest IS 'Over the previous digest and what identifies the batch (gatherer/load/chain.py).';

-- A reader that found a database put back reads from an earlier batch again: what it acknowledges goes back with it,
-- so that retention keeps what is to be read. Only an older epoch is still refused.
CREATE OR REPLACE FUNCTION acknowledge(consumer text, epoch bigint, lane smallint, batch bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public AS $$
    INSERT INTO consumers AS c (consumer, lane, epoch, batch) VALUES ($1, $3, $2, $4)
    ON CONFLICT (consumer, lane) DO UPDATE
       SET epoch = excluded.epoch, batch = excluded.batch, acknowledged_at = now()
     WHERE excluded.epoch >= c.epoch;
$$;
COMMENT ON FUNCTION acknowledge IS 'The one thing a reader may change here, also to an earlier batch; an older epoch never moves it.';
