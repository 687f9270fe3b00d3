-- name: make_ledger
-- The table of what was applied, if it is not there.
CREATE TABLE IF NOT EXISTS public.schema_migrations (
    name       text PRIMARY KEY,
    digest     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE public.schema_migrations IS 'The migrations that were applied to this database (fleet migrate).';
COMMENT ON COLUMN public.schema_migrations.name IS 'The file, without its ending.';
COMMENT ON COLUMN public.schema_migrations.digest IS 'SHA-256 of the file as it was applied.';
COMMENT ON COLUMN public.schema_migrations.applied_at IS 'When.';

-- name: has_ledger
-- Whether anything was ever applied.
SELECT to_regclass('public.schema_migrations') IS NOT NULL

-- name: applied
-- What was applied, with the digests of the files.
SELECT name, digest FROM public.schema_migrations

-- name: note_applied
-- Note a file, in the transaction of its statements.
INSERT INTO public.schema_migrations (name, digest) VALUES ($1, $2)

-- name: may_change
-- Whether this account may make something, whether the server takes changes, and whose the schema is if another's.
SELECT has_schema_privilege('public', 'CREATE'), current_setting('transaction_read_only')::boolean,
       (SELECT pg_get_userbyid(relowner) FROM pg_class
         WHERE oid = to_regclass('public.schema_migrations') AND NOT pg_has_role(relowner, 'USAGE'))

-- name: missing_roles
-- Those of some roles that the server does not have, and whether this account may make them.
SELECT ARRAY(SELECT wanted FROM unnest($1::text[]) WITH ORDINALITY w (wanted, n)
              WHERE to_regrole(wanted) IS NULL ORDER BY n),
       (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user)

-- name: set_lock_timeout
-- How long this connection waits for a lock.
SELECT set_config('lock_timeout', $1, false)

-- name: lock
-- Wait until nothing else migrates the database; the lock is this connection's until it ends.
SELECT pg_advisory_lock($1)

-- name: timescaledb
-- The release of TimescaleDB in the database, and the machine's.
SELECT extversion, default_version FROM pg_extension JOIN pg_available_extensions ON name = extname
 WHERE extname = 'timescaledb'

-- name: update_timescaledb
-- Bring the database to the machine's release.
ALTER EXTENSION timescaledb UPDATE
