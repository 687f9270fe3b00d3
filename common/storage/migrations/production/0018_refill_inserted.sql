-- For exports: an hour that is read while REST's trades come into it is read again, also if its gap stays open.
ALTER TABLE store.refills ADD COLUMN inserted_at timestamptz;
COMMENT ON COLUMN store.refills.inserted_at IS 'When a try last brought trades that no gatherer had.';
