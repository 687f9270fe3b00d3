-- name: in_utc
-- Of DuckDB: show times in UTC.
SET TimeZone = 'UTC'

-- name: closed
-- Of DuckDB: read no other file than those that are registered, and let no statement change that.
SET enable_external_access = false;
SET lock_configuration = true
