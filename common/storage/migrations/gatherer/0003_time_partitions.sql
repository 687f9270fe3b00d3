-- Time in the large tables: every row of a batch carries the moment of its transaction, so that whole hours can be
-- dropped, and readers who know a batch's moment touch one hour only. Two engines, found out here: TimescaleDB's
-- hypertables where the extension is installed and preloaded, PostgreSQL's own range partitions where not.

CREATE TABLE partitioned_tables (name text PRIMARY KEY, compress_order text NOT NULL);
COMMENT ON TABLE partitioned_tables IS 'The tables that are kept in hours, and the order in which TimescaleDB compresses them.';
INSERT INTO partitioned_tables VALUES
    ('deltas', 'market, exchange_ms, seq'), ('snapshots', 'market, batch'), ('trades', 'market, exchange_ms'),
    ('tickers', 'market, exchange_ms'), ('lifecycle', 'market, batch'), ('horizons', 'slice, batch'),
    ('run_events', 'run, batch, position');

-- By what the tables are, not by what is installed: an extension may come later, or be without what is needed of it.
CREATE FUNCTION storage_engine() RETURNS text LANGUAGE sql STABLE SET search_path = public, pg_catalog AS $$
    SELECT CASE relkind WHEN 'p' THEN 'partitions' ELSE 'timescaledb' END FROM pg_class WHERE oid = 'public.deltas'::regclass
$$;
COMMENT ON FUNCTION storage_engine IS 'What keeps the hours: timescaledb, or partitions.';

DO $do$
DECLARE
    part record;
    hypertables boolean;
    used boolean;
    until timestamptz := date_trunc('hour', now(), 'UTC') + interval '1 hour';
BEGIN
    -- Its loader defines this setting, where it is preloaded; anybody may read it, unlike shared_preload_libraries.
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
       AND current_setting('timescaledb.disable_load', true) IS NOT NULL THEN
        CREATE EXTENSION IF NOT EXISTS timescaledb;
    END IF;
    -- With the Apache licence (Debian's build) it compresses nothing; PostgreSQL's own partitions do the rest as well.
    hypertables := EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')
                   AND current_setting('timescaledb.license', true) IS DISTINCT FROM 'apache';
    FOR part IN SELECT * FROM partitioned_tables LOOP
        EXECUTE format('ALTER TABLE %I ADD COLUMN stored_at timestamptz NOT NULL DEFAULT now()', part.name);
        EXECUTE format('ALTER TABLE %I ALTER COLUMN stored_at DROP DEFAULT', part.name);
        IF hypertables THEN
            EXECUTE format($$SELECT create_hypertable(%L, 'stored_at', chunk_time_interval => interval '1 hour',
                                    create_default_indexes => false, migrate_data => true)$$, part.name);
            EXECUTE format('ALTER TABLE %I SET (timescaledb.compress, timescaledb.compress_orderby = %L)',
                           part.name, part.compress_order);
        ELSE
            EXECUTE format('ALTER TABLE %I RENAME TO %I', part.name, part.name || '_before');
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL) PARTITION BY RANGE (stored_at)',
                           part.name, part.name || '_before');
            EXECUTE format('SELECT EXISTS (SELECT FROM %I)', part.name || '_before') INTO used;
            IF used THEN
                EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)',
                               part.name, part.name || '_before', until);
            ELSE
                EXECUTE format('DROP TABLE %I', part.name || '_before');
            END IF;
        END IF;
    END LOOP;
END
$do$;

CREATE FUNCTION ensure_partition(at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_catalog SET lock_timeout = '2s' AS $$
DECLARE
    part record;
    low timestamptz := date_trunc('hour', at, 'UTC');
    child text;
BEGIN
    IF storage_engine() = 'timescaledb' THEN RETURN; END IF;
    PERFORM pg_advisory_xact_lock(hashtext('ensure_partition'));
    FOR part IN SELECT name FROM partitioned_tables LOOP
        child := part.name || to_char(low AT TIME ZONE 'UTC', '"_p"YYYYMMDDHH24');
        IF to_regclass(child) IS NULL AND low >= (SELECT coalesce(max(high), '-infinity') FROM hours
                                                   WHERE hours.name = part.name AND hours.low = '-infinity') THEN
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', child, part.name);
            EXECUTE format('ALTER TABLE %I ADD CONSTRAINT hour CHECK (stored_at >= %L AND stored_at < %L)',
                           child, low, low + interval '1 hour');
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                           part.name, child, low, low + interval '1 hour');
            EXECUTE format('ALTER TABLE %I DROP CONSTRAINT hour', child);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION ensure_partition IS 'Make the hour of a moment ready in every table, before its first row.';

CREATE VIEW hours AS
SELECT parent.relname::text AS name, child.relname::text AS partition,
       CASE WHEN bounds.text LIKE '%(MINVALUE)%' THEN '-infinity'::timestamptz
            ELSE substring(bounds.text FROM $re$FROM \('([^']+)'\)$re$)::timestamptz END AS low,
       substring(bounds.text FROM $re$TO \('([^']+)'\)$re$)::timestamptz AS high,
       pg_total_relation_size(child.oid) AS bytes,
       format('ALTER TABLE %I DETACH PARTITION %I CONCURRENTLY', parent.relname, child.relname) AS detach,
       format('DROP TABLE %I', child.relname) AS remove
  FROM partitioned_tables p
  JOIN pg_class parent ON parent.oid = to_regclass(p.name)
  JOIN pg_inherits i ON i.inhparent = parent.oid
  JOIN pg_class child ON child.oid = i.inhrelid
 CROSS JOIN LATERAL (SELECT pg_get_expr(child.relpartbound, child.oid) AS text) bounds
 WHERE child.relpartbound IS NOT NULL;
COMMENT ON VIEW hours IS 'The partitions of plain PostgreSQL, with the statements that take them away.';

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

ALTER TABLE batches ALTER COLUMN loaded_at DROP DEFAULT;
CREATE INDEX ON batches (lane, loaded_at);
CREATE INDEX ON slices (lane, slice);
CREATE INDEX ON runs (lane, slice);
