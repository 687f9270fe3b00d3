-- The feed: production as a numbered log. A transaction that changes merged data has a step number; what it changed is one
-- row here, written in it. Readers go from step to step (docs/architecture/feed.md).

CREATE TABLE store.feed (
    step         bigint NOT NULL PRIMARY KEY,
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind         text NOT NULL,
    rows         int NOT NULL,
    from_ms      bigint,
    to_ms        bigint,
    block        bytea STORAGE EXTERNAL  -- it is compressed already
) PARTITION BY RANGE (step);
COMMENT ON TABLE store.feed IS 'What each transaction changed of merged data, under its step number, without holes. Kept for production.feed.keep.';
COMMENT ON COLUMN store.feed.step IS 'The transaction''s number: one more than that of the row before.';
COMMENT ON COLUMN store.feed.committed_at IS 'When the row was written, as the last of its transaction.';
COMMENT ON COLUMN store.feed.kind IS 'The writer: merge, lines, refill, heal, metadata, archive, retention or history. other: one that writes no block.';
COMMENT ON COLUMN store.feed.rows IS 'Rows of the block, those of its seal apart.';
COMMENT ON COLUMN store.feed.from_ms IS 'The least exchange time of the rows, milliseconds since 1970; null: none of them has one.';
COMMENT ON COLUMN store.feed.to_ms IS 'The greatest exchange time of the rows, inclusive.';
COMMENT ON COLUMN store.feed.block IS 'The rows: Arrow record batches with zstd (docs/formats.md). Null: the change is not in the feed.';

-- Partitions of so many steps each, made by the first step that needs one.
CREATE FUNCTION store.feed_part_steps() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 20000::bigint';

CREATE FUNCTION store.write_feed(of_step bigint, kind text, rows int, from_ms bigint, to_ms bigint, block bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, store, pg_temp AS $$
DECLARE
    size bigint := store.feed_part_steps();
    number bigint := of_step / size;
    part text := format('feed_p%s', number);
BEGIN
    IF to_regclass('store.' || part) IS NULL THEN
        EXECUTE format('CREATE TABLE store.%I (LIKE store.feed INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', part);
        EXECUTE format('ALTER TABLE store.%I ADD CONSTRAINT within_part CHECK (step >= %s AND step < %s)', part, number * size, (number + 1) * size);
        EXECUTE format('ALTER TABLE store.feed ATTACH PARTITION store.%I FOR VALUES FROM (%s) TO (%s)', part, number * size, (number + 1) * size);
        EXECUTE format('ALTER TABLE store.%I DROP CONSTRAINT within_part', part);
        EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON store.%I FROM kalshi_writer', part);
    END IF;
    INSERT INTO store.feed (step, kind, rows, from_ms, to_ms, block) VALUES (of_step, kind, rows, from_ms, to_ms, block);
    PERFORM pg_notify('kalshi_feed', of_step::text);
END $$;
COMMENT ON FUNCTION store.write_feed IS 'Writes the row of a step and makes its partition; for store.put_feed and the trigger alone.';

CREATE FUNCTION store.put_feed(kind text, rows int, from_ms bigint, to_ms bigint, block bytea) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, store, pg_temp AS $$
DECLARE
    number bigint := store.this_step();
BEGIN
    PERFORM store.write_feed(number, kind, rows, from_ms, to_ms, block);
    RETURN number;
END $$;
COMMENT ON FUNCTION store.put_feed IS 'What this transaction changed of merged data, under its step; once, as the last of the transaction.';

-- No step without its row, also of a writer that knows nothing of the feed: at the commit.
CREATE FUNCTION store.complete_feed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, store, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM store.feed f WHERE f.step = NEW.step) THEN
        PERFORM store.write_feed(NEW.step, 'other', 0, NULL, NULL, NULL);
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER feed_is_complete AFTER UPDATE ON store.lease DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.step IS DISTINCT FROM NEW.step) EXECUTE FUNCTION store.complete_feed();

-- Hours of the feed as the archive has them. Which steps an hour holds is settled before its object is written: the
-- object is then the same whenever, and however often, it is written.
CREATE TABLE store.feed_hours (
    hour        timestamptz PRIMARY KEY,
    first_step  bigint NOT NULL,
    last_step   bigint NOT NULL CHECK (last_step >= first_step - 1),
    object      text,
    archived_at timestamptz
);
COMMENT ON TABLE store.feed_hours IS 'Hours of the feed in the archive, by when their steps were committed; a new one begins with the step after the last of the one before.';
COMMENT ON COLUMN store.feed_hours.last_step IS 'Inclusive; one less than first_step: nothing was committed in the hour.';
COMMENT ON COLUMN store.feed_hours.object IS 'Where the steps are.';
COMMENT ON COLUMN store.feed_hours.archived_at IS 'When the object was there; null: its steps are settled, and it is being written.';

CREATE FUNCTION store.drop_feed(keep interval, archived boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, store, pg_temp AS $$
DECLARE
    part record;
    newest timestamptz;
    size bigint := store.feed_part_steps();
    there bigint := (SELECT max(last_step) FROM store.feed_hours WHERE archived_at IS NOT NULL);
    gone bigint := 0;
BEGIN
    FOR part IN
        SELECT c.relname, substring(c.relname FROM '^feed_p(\d+)$')::bigint AS number
          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'store.feed'::regclass
           AND substring(c.relname FROM '^feed_p(\d+)$')::bigint < (SELECT step / size FROM store.lease)
         ORDER BY 2
    LOOP
        EXIT WHEN archived AND (there IS NULL OR (part.number + 1) * size > there + 1);
        EXECUTE format('SELECT committed_at FROM store.%I ORDER BY step DESC LIMIT 1', part.relname) INTO newest;
        EXIT WHEN newest >= now() - keep;
        EXECUTE format('ALTER TABLE store.feed DETACH PARTITION store.%I', part.relname);
        EXECUTE format('DROP TABLE store.%I', part.relname);
        gone := gone + 1;
    END LOOP;
    RETURN gone;
END $$;
COMMENT ON FUNCTION store.drop_feed IS 'Drops partitions of the feed whose rows are all so old and, if there is an archive, in it; set a short lock_timeout before. Returns how many.';
