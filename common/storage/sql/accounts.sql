-- name: make_database
-- Make a database, whose name is put in for {}: in a single-user server, where a statement is a line.
CREATE DATABASE {};

-- name: set_account
-- Set what make_account makes: utility statements take no parameters.
SELECT set_config('fleet.account', $1, true), set_config('fleet.secret', $2, true), set_config('fleet.member_of', $3, true)

-- name: make_account
-- Make the account a member of its group that can log in, or give it its password; put together by the server.
DO $$
DECLARE
    name text := current_setting('fleet.account');
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
        EXECUTE format('CREATE ROLE %I LOGIN', name);
    END IF;
    EXECUTE format('GRANT %I TO %I', current_setting('fleet.member_of'), name);
    EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L', name, current_setting('fleet.secret'));
END $$
