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
GRANT UPDATE ON store.feed_hours TO kalshi_writer;

-- Partitions whose rows are all older leave, but for the last one; where there is an archive, once it has all of them.
DROP FUNCTION store.drop_feed(interval);
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
REVOKE EXECUTE ON FUNCTION store.drop_feed FROM PUBLIC;
GRANT EXECUTE ON FUNCTION store.drop_feed TO kalshi_writer;
