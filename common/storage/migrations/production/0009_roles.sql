-- Group roles; accounts that log in are made members of one (docs/runbooks). Whoever migrates is the owner, and the
-- account of no process. Roles belong to the whole server: they may be there already.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['kalshi_writer', 'kalshi_reader', 'kalshi_analyst'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;
END $$;

GRANT USAGE ON SCHEMA public, store TO kalshi_writer, kalshi_reader, kalshi_analyst;
GRANT SELECT ON ALL TABLES IN SCHEMA public, store TO kalshi_writer, kalshi_reader, kalshi_analyst;
GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA store TO kalshi_writer;
GRANT INSERT, UPDATE, DELETE ON series, events, markets, market_changes TO kalshi_writer;
REVOKE SELECT ON store.quarantine, quarantine FROM kalshi_analyst;  -- frames as they came, from whoever sent them
ALTER DEFAULT PRIVILEGES IN SCHEMA public, store GRANT SELECT ON TABLES TO kalshi_writer, kalshi_reader, kalshi_analyst;
ALTER DEFAULT PRIVILEGES IN SCHEMA store GRANT INSERT, UPDATE, DELETE ON TABLES TO kalshi_writer;
REVOKE EXECUTE ON FUNCTION store.add_day, store.checkpoint FROM PUBLIC;
GRANT EXECUTE ON FUNCTION store.add_day, store.checkpoint TO kalshi_writer;

-- Making and dropping partitions needs the owner: through these functions, and for nothing else.
ALTER FUNCTION store.add_day SECURITY DEFINER SET search_path = pg_catalog, store;

CREATE FUNCTION store.drop_day(day date) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, store AS $$
DECLARE
    part text := format('deltas_p%s', to_char(day, 'YYYYMMDD'));
BEGIN
    IF NOT EXISTS (SELECT FROM store.detached d WHERE d.day = drop_day.day) THEN
        RAISE EXCEPTION 'store.detached does not say that % leaves', day;
    END IF;
    EXECUTE format('ALTER TABLE store.deltas DETACH PARTITION store.%I', part);
    EXECUTE format('DROP TABLE store.%I', part);
END $$;
COMMENT ON FUNCTION store.drop_day IS 'Drops a day of changes whose late rows already go elsewhere; set a short lock_timeout before.';
REVOKE EXECUTE ON FUNCTION store.drop_day FROM PUBLIC;
GRANT EXECUTE ON FUNCTION store.drop_day TO kalshi_writer;
