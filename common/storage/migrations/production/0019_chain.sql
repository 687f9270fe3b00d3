-- Where each lane's log is read, with the digest of the last batch: a log that was put back is another chain.
ALTER TABLE store.cursors
    ADD COLUMN digest         bytea NOT NULL DEFAULT '',
    ADD COLUMN readings       smallint NOT NULL DEFAULT 0,
    ADD COLUMN received_us    bigint NOT NULL DEFAULT 0,
    ADD COLUMN again_until_us bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN store.cursors.digest IS 'The last batch''s digest; empty: not known.';
COMMENT ON COLUMN store.cursors.readings IS 'How often the lane was put back, and read again from an earlier batch.';
COMMENT ON COLUMN store.cursors.received_us IS 'When the newest of what was read was received at the gatherer.';
COMMENT ON COLUMN store.cursors.again_until_us IS 'What was received up to then was read before the lane was put back: what it is counted in has it already.';

CREATE TABLE store.batch_digests (
    gatherer smallint NOT NULL REFERENCES store.gatherers,
    lane     smallint NOT NULL,
    level    smallint NOT NULL,
    slot     smallint NOT NULL,
    batch    bigint NOT NULL,
    digest   bytea NOT NULL,
    PRIMARY KEY (gatherer, lane, level, slot)
) WITH (fillfactor = 70);
COMMENT ON TABLE store.batch_digests IS 'Digests of batches that were stored, to find the last one that a lane that was put back still has: of every level the newest 64, each level four times as far apart as the one below, so that a lane has a thousand at most.';

CREATE TABLE store.put_backs (
    put_back   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gatherer   smallint NOT NULL REFERENCES store.gatherers,
    lane       smallint NOT NULL,
    read_to    bigint NOT NULL,
    last_batch bigint NOT NULL,
    read_again bigint NOT NULL,
    reason     text NOT NULL,
    found_at   timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE store.put_backs IS 'Lanes whose database was put back: how far it had been read, what it had left, and behind which batch it is read again.';

-- A batch that is read again has an account of its own, marked by the reading.
ALTER TABLE store.accounts ADD COLUMN reading smallint NOT NULL DEFAULT 0;
ALTER TABLE store.accounts DROP CONSTRAINT accounts_pkey, ADD PRIMARY KEY (gatherer, lane, reading, from_batch);
COMMENT ON COLUMN store.accounts.reading IS '0: the first; n: after the lane was put back for the n-th time.';

-- What is read again is stored once.
CREATE INDEX ON store.quarantine (gatherer, session, sid, seq);
CREATE INDEX ON store.conflicts (market, exchange_ts);
