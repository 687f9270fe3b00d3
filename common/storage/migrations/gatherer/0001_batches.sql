-- A gatherer's local database: what one zone recorded, in batches of one transaction each.
-- Everything a batch wrote carries (lane, batch); a batch number is used once, by one loader, without holes.
--
-- Here: which database this is, its lanes and batches, and how far each has been read.

CREATE TABLE instance (
    instance    uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    gatherer_id text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    only_one    boolean NOT NULL UNIQUE DEFAULT true CHECK (only_one)
);
COMMENT ON TABLE instance IS 'Who this database is: a machine rebuilt empty is another instance and is read from its first batch.';
INSERT INTO instance DEFAULT VALUES;

CREATE TABLE lanes (
    lane       smallint PRIMARY KEY,
    state      text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'draining', 'closed')),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE lanes IS 'A lane is one journal, its loader and its batch numbers.';

-- The batches of a lane are a chain: each names the digest of the one before it, and has one of its own. A reader that
-- keeps the digest with its place sees at once that a database was put back, whatever numbers were given since. A batch
-- names how many rows it wrote into each table: a reader compares, and takes nothing of which a part has gone.
CREATE TABLE batches (
    lane            smallint NOT NULL REFERENCES lanes,
    batch           bigint NOT NULL CHECK (batch > 0),
    journal         uuid NOT NULL,
    segment         bigint NOT NULL,
    end_offset      bigint NOT NULL,
    frames          bigint NOT NULL,
    delta_frames    bigint NOT NULL,
    delta_rows      bigint NOT NULL,
    delta_poisoned  bigint NOT NULL,
    received_us     bigint NOT NULL,
    alarms          jsonb NOT NULL,
    loaded_at       timestamptz NOT NULL,
    previous        bytea NOT NULL DEFAULT '',
    digest          bytea NOT NULL DEFAULT '',
    row_counts      jsonb,
    emptied         boolean NOT NULL DEFAULT false,
    PRIMARY KEY (lane, batch),
    CONSTRAINT every_delta_frame_is_accounted_for CHECK (delta_frames = delta_rows + delta_poisoned)
);
CREATE INDEX ON batches (lane, loaded_at);
COMMENT ON TABLE batches IS 'One row per transaction of the loader; (segment, end_offset) is its place in the journal.';
COMMENT ON COLUMN batches.previous IS 'The digest of the batch before it in its lane; empty: it is the first, or was written by a release without digests.';
COMMENT ON COLUMN batches.digest IS 'Over the previous digest and what identifies the batch (gatherer/load/chain.py).';
COMMENT ON COLUMN batches.row_counts IS 'Its rows by table, without those of no rows (deltas: delta_rows); null: written by a release that did not count.';
COMMENT ON COLUMN batches.emptied IS 'Its rows were dropped, as every consumer had them; it stays as the place of its lane in the journal.';

-- Records of a journal whose rows the database did not take: quarantined, and decided in the same way at every reading.
CREATE TABLE refused_records (
    lane smallint NOT NULL, journal uuid NOT NULL, segment bigint NOT NULL, end_offset bigint NOT NULL,
    reason text NOT NULL, refused_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (lane, journal, segment, end_offset)
);
COMMENT ON TABLE refused_records IS 'Records that made a batch fail three times in the same way, found by halving it; end_offset as in batches.';

CREATE TABLE consumers (
    consumer text NOT NULL,
    lane     smallint NOT NULL REFERENCES lanes,
    epoch    bigint NOT NULL,
    batch    bigint NOT NULL,
    acknowledged_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, lane)
);
COMMENT ON TABLE consumers IS 'How far each reader has stored what it read; retention keeps what one of them has not.';

-- A reader that found a database put back reads from an earlier batch again: what it acknowledges goes back with it,
-- so that retention keeps what is to be read. Only an older epoch is refused, and knows it from the answer.
CREATE FUNCTION acknowledge(consumer text, epoch bigint, lane smallint, batch bigint) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH taken AS (
        INSERT INTO consumers AS c (consumer, lane, epoch, batch) VALUES ($1, $3, $2, $4)
        ON CONFLICT (consumer, lane) DO UPDATE
           SET epoch = excluded.epoch, batch = excluded.batch, acknowledged_at = now()
         WHERE excluded.epoch >= c.epoch
        RETURNING c.batch
    )
    SELECT EXISTS (SELECT FROM taken);
$$;
COMMENT ON FUNCTION acknowledge IS 'The one thing a reader may change here, also to an earlier batch. False: a newer epoch of the consumer is known, and nothing was changed.';

CREATE VIEW acknowledged AS
SELECT l.lane, coalesce((SELECT min(coalesce(c.batch, 0))
                           FROM (SELECT DISTINCT consumer FROM consumers) known
                           LEFT JOIN consumers c ON c.consumer = known.consumer AND c.lane = l.lane), 0) AS batch
  FROM lanes l;
COMMENT ON VIEW acknowledged IS 'The last batch of each lane that every registered consumer has stored; 0 without consumers.';

CREATE TABLE dropped_unread (
    lane smallint NOT NULL, from_batch bigint NOT NULL, to_batch bigint NOT NULL,
    from_us bigint NOT NULL, to_us bigint NOT NULL, dropped_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (lane, from_batch)
);
COMMENT ON TABLE dropped_unread IS 'Batches that had to go for want of space before every consumer had them: receive times, microseconds.';
