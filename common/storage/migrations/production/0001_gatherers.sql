-- Production: one history of what the gatherers recorded. Schema `store` holds integers in narrow rows; the relations
-- that people query are views over it (0011_relations.sql).
--
-- Here: who may write, the steps in which that is done, and how far each gatherer's log is read.

CREATE SCHEMA store;

CREATE TABLE store.lease (
    only_one           boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    epoch              bigint NOT NULL DEFAULT 0,
    holder             text NOT NULL DEFAULT '',
    fleet_started_at   timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now()),
    newest_exchange_ts timestamptz,
    heals              bigint NOT NULL DEFAULT 0,
    healed_rows        bigint NOT NULL DEFAULT 0,
    step               bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE store.lease IS 'Who may write: every transaction of the deduplicator begins by locking the row of its epoch.';
COMMENT ON COLUMN store.lease.heals IS 'How often fleet heal has written: a deduplicator that remembers another number makes its state again.';
COMMENT ON COLUMN store.lease.healed_rows IS 'Changes that fleet heal inserted: no account has them.';
COMMENT ON COLUMN store.lease.step IS 'Number of the last transaction that changed merged data.';

INSERT INTO store.lease DEFAULT VALUES;

-- Every transaction that changes merged data takes a number in the lease row, whose lock it holds until it commits:
-- steps are numbered in the order of their commits, without holes. A snapshot that shows step N shows all up to it.
CREATE FUNCTION store.this_step() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    number bigint := nullif(current_setting('fleet.step', true), '');
BEGIN
    IF number IS NULL THEN
        UPDATE store.lease SET step = step + 1 RETURNING step INTO number;
        PERFORM set_config('fleet.step', number::text, true);
    END IF;
    RETURN number;
END $$;
COMMENT ON FUNCTION store.this_step IS 'The step number of this transaction; it takes the next one if it has none.';

CREATE TABLE store.gatherers (
    gatherer    smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gatherer_id text NOT NULL,
    instance    uuid NOT NULL UNIQUE,
    seen_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE store.gatherers IS 'Instances that were read; a machine rebuilt empty under the same name is another one.';

-- Where each lane's log is read, with the digest of the last batch: a log that was put back is another chain.
CREATE TABLE store.cursors (
    gatherer       smallint NOT NULL REFERENCES store.gatherers,
    lane           smallint NOT NULL,
    batch          bigint NOT NULL,
    digest         bytea NOT NULL DEFAULT '',
    readings       int NOT NULL DEFAULT 0,
    received_us    bigint NOT NULL DEFAULT 0,
    again_until_us bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (gatherer, lane)
);
COMMENT ON TABLE store.cursors IS 'The last batch whose rows are here, moved in the transaction that stored them.';
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
COMMENT ON TABLE store.put_backs IS 'Lanes whose database was put back: how far it had been read, what it had left, and after which batch it is read again.';

-- A batch that is read again has an account of its own, marked by the reading.
CREATE TABLE store.accounts (
    gatherer    smallint NOT NULL REFERENCES store.gatherers,
    lane        smallint NOT NULL,
    from_batch  bigint NOT NULL,
    to_batch    bigint NOT NULL,
    received    bigint NOT NULL,
    inserted    bigint NOT NULL,
    confirmed   bigint NOT NULL,
    disputed    bigint NOT NULL,
    unplaced    bigint NOT NULL,
    quarantined bigint NOT NULL,
    stored_at   timestamptz NOT NULL DEFAULT now(),
    reading     int NOT NULL DEFAULT 0,
    PRIMARY KEY (gatherer, lane, reading, from_batch),
    CONSTRAINT every_delta_frame_is_accounted_for
        CHECK (received = inserted + confirmed + disputed + unplaced + quarantined)
);
COMMENT ON TABLE store.accounts IS 'What became of every delta frame of every batch; the five add up to received.';
COMMENT ON COLUMN store.accounts.reading IS '0: the first; n: after the lane was put back for the n-th time.';
