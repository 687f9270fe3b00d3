-- What the archive holds: one row per exported hour.
CREATE TABLE store.exports (
    hour        timestamptz PRIMARY KEY,
    exported_at timestamptz NOT NULL,
    complete    boolean NOT NULL,
    unsealed    bigint NOT NULL
);
COMMENT ON COLUMN store.exports.complete IS 'Whether every market alive in the hour was sealed past its end.';
