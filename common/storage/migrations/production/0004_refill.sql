-- Trades that no gatherer received, from REST.

ALTER TABLE store.gaps ADD COLUMN refilled_at timestamptz;
COMMENT ON COLUMN store.gaps.refilled_at IS 'When the exchange''s own list of trades was found complete over the gap, and was taken over. The gap stays a tile of coverage.';

CREATE TABLE store.refills (
    gap         bigint PRIMARY KEY REFERENCES store.gaps,
    tried_at    timestamptz NOT NULL,
    tries       int NOT NULL,
    from_ts     timestamptz NOT NULL,
    to_ts       timestamptz NOT NULL,
    listed      bigint NOT NULL,
    known       bigint NOT NULL,
    inserted    bigint NOT NULL,
    outside     bigint NOT NULL,
    not_listed  bigint NOT NULL
);
COMMENT ON TABLE store.refills IS 'What REST listed over a gap of the trade channel and an hour on both sides.';
COMMENT ON COLUMN store.refills.listed IS 'Trades that REST listed in the window.';
COMMENT ON COLUMN store.refills.known IS 'Of these, trades that a gatherer had recorded: the proof that the list is what was sent.';
COMMENT ON COLUMN store.refills.inserted IS 'Trades that no gatherer had, over all tries.';
COMMENT ON COLUMN store.refills.outside IS 'Of the inserted, those outside every gap: contradictions of coverage.';
COMMENT ON COLUMN store.refills.not_listed IS 'Recorded trades of the window that REST did not list; while there is one, the gap is not refilled.';

COMMENT ON COLUMN trades.source IS 'ws: a gatherer received it. rest: nobody did; it is from the exchange''s list (received_at: when it was read).';
