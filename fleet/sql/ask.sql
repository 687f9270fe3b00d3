-- name: read_only
-- Begin a transaction that cannot write.
BEGIN READ ONLY

-- name: limit_time
-- Limit what a statement of this transaction may take.
SELECT set_config('statement_timeout', $1, true)

-- name: archive_in_utc
-- Of DuckDB: show times in UTC, as Athena does.
SET TimeZone = 'UTC'

-- name: archive_closed
-- Of DuckDB: read no other file than those that are registered, and let no statement change that.
SET enable_external_access = false;
SET lock_configuration = true
