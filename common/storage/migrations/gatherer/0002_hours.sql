-- Time in the large tables: every row of a batch carries the moment of its transaction, so that whole hours can be
-- dropped, and readers who know a batch's moment touch one hour only. Two engines, found out here: TimescaleDB's
-- hypertables where the extension is installed and preloaded, PostgreSQL's own range partitions where not.

CREATE TABLE partitioned_tables (name text PRIMARY KEY, compress_order text NOT NULL);
COMMENT ON TABLE partitioned_tables IS 'The tables that are kept in hours, and the order in which TimescaleDB compresses them.';

DO $$
BEGIN
    -- Its loader defines this setting, where it is preloaded; anybody may read it, unlike shared_preload_libraries.
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
       AND current_setting('timescaledb.disable_load', true) IS NOT NULL THEN
        CREATE EXTENSION IF NOT EXISTS timescaledb;
    END IF;
END $$;

-- The first table decides for all: an extension may come later, or be without what is needed of it. With the Apache
-- licence (Debian's build) TimescaleDB compresses nothing; PostgreSQL's own partitions do the rest as well.
CREATE FUNCTION keep_in_hours(relation text, compress_order text) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_catalog AS $$
BEGIN
    IF coalesce((SELECT c.relkind = 'r' FROM partitioned_tables p JOIN pg_class c ON c.oid = to_regclass(p.name) LIMIT 1),
                EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')
                AND current_setting('timescaledb.license', true) IS DISTINCT FROM 'apache') THEN
        EXECUTE format($q$SELECT create_hypertable(%L, 'stored_at', chunk_time_interval => interval '1 hour',
                                 create_default_indexes => false)$q$, relation);
        EXECUTE format('ALTER TABLE %I SET (timescaledb.compress, timescaledb.compress_orderby = %L)', relation, compress_order);
    ELSE
        EXECUTE format('ALTER TABLE %I RENAME TO %I', relation, relation || '_before');
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL) PARTITION BY RANGE (stored_at)', relation, relation || '_before');
        EXECUTE format('DROP TABLE %I', relation || '_before');
    END IF;
    INSERT INTO partitioned_tables VALUES (relation, compress_order);
END $$;
COMMENT ON FUNCTION keep_in_hours IS 'Keep a new table, which has a column stored_at, in hours; call it before its indexes are made.';
