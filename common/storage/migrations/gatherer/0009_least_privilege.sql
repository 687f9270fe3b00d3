-- A function that runs as its owner must find nothing of its caller's: without pg_temp at the end of its path, a
-- temporary table of the caller's is found before all others, and its triggers run as the owner.
DO $do$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT p.oid::regprocedure AS name FROM pg_proc p
                WHERE p.prosecdef AND p.pronamespace = 'public'::regnamespace AND pg_get_userbyid(p.proowner) = current_user LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, public, pg_temp', one.name);
    END LOOP;
    -- Whoever reads makes nothing here, not even for a moment.
    EXECUTE format('REVOKE TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC', current_database());
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
END
$do$;

-- A batch is read from an hour that is compressed, too: its rows lie together.
UPDATE partitioned_tables SET compress_order = 'lane, stored_at, market, exchange_ms, seq' WHERE name = 'deltas';
DO $do$
BEGIN
    IF storage_engine() = 'timescaledb' THEN
        EXECUTE (SELECT format('ALTER TABLE deltas SET (timescaledb.compress_orderby = %L)', compress_order)
                   FROM partitioned_tables WHERE name = 'deltas');
    END IF;
END
$do$;
