-- Every transaction that changes merged data takes a number in the lease row, whose lock it holds until it commits:
-- steps are numbered in the order of their commits, without holes. A snapshot that shows step N shows all up to it.
ALTER TABLE store.lease ADD COLUMN step bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN store.lease.step IS 'Number of the last transaction that changed merged data.';

-- The number of this transaction; one that has none yet takes it here.
CREATE FUNCTION store.this_step() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    number bigint := nullif(current_setting('fleet.step', true), '');
BEGIN
    IF number IS NULL THEN
        UPDATE store.lease SET step = step + 1 RETURNING step INTO number;
        PERFORM set_config('fleet.step', number::text, true);
    END IF;
    RETURN number;
END $$;
COMMENT ON FUNCTION store.this_step IS 'The step number of this transaction; it takes the next one if it has none.';
