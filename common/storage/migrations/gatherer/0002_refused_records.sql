-- Records of a journal whose rows the database did not take: quarantined, and decided alike at every reading.
CREATE TABLE refused_records (
    lane smallint NOT NULL, journal uuid NOT NULL, segment bigint NOT NULL, end_offset bigint NOT NULL,
    reason text NOT NULL, refused_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (lane, journal, segment, end_offset)
);
COMMENT ON TABLE refused_records IS 'The culprit of a batch that failed three times alike, found by halving; end_offset as in batches.';
