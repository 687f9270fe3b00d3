-- name: read_only
-- Begin a transaction that cannot write.
BEGIN READ ONLY

-- name: limit_time
-- Limit what a statement of this transaction may take.
SELECT set_config('statement_timeout', $1, true)
