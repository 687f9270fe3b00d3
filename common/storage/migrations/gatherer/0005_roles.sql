-- The deduplicator's account here is a member of this: it reads everything, and may acknowledge how far it has come. It makes
-- nothing here, not even for a moment.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'kalshi_reader') THEN
        CREATE ROLE kalshi_reader NOLOGIN;
    END IF;
    EXECUTE format('REVOKE TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC', current_database());
END $$;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO kalshi_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO kalshi_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO kalshi_reader;
REVOKE EXECUTE ON FUNCTION acknowledge FROM PUBLIC;
GRANT EXECUTE ON FUNCTION acknowledge TO kalshi_reader;
