-- How many changes an hour's object holds: a day may leave only if that is what production has of it.
ALTER TABLE store.exports ADD COLUMN delta_rows bigint;
COMMENT ON COLUMN store.exports.delta_rows IS 'Changes in the archive''s object of the hour; null: to be exported again.';
