-- name: make_copy
-- Make a gatherer's database, whose number is put in for {}, as a copy of the filled one.
CREATE DATABASE gatherer_{} TEMPLATE kalshi

-- name: make_production
-- Make production's database.
CREATE DATABASE production

-- name: drop_production
-- Drop production's database, if it is there.
DROP DATABASE IF EXISTS production

-- name: keep_commit_times
-- Keep, from the next start on, when each transaction was committed.
ALTER SYSTEM SET track_commit_timestamp = on

-- name: clock
-- The time of the database.
SELECT now()

-- name: vacuum
-- Bring all statistics up to date.
VACUUM ANALYZE
