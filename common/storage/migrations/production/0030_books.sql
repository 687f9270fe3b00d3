-- One meaning of "the book at a moment" (ADR 24). Books that no change lies between show one quiet stretch of a market, in
-- which only a reset replaces the book: there the moment at which a book was taken decides, not its place. Each run of a
-- quiet market places its own first book where its own claim begins, so a reset, whose place is the last change before it,
-- may lie before books that were taken hours earlier.

CREATE INDEX snapshots_resets_of ON store.snapshots (market, exchange_ts, after_ordinal) WHERE is_reset;

-- A book with an ordinal stands at a change, also where the change itself has left for the archive.
CREATE FUNCTION store.changed_between(of_market bigint, a_ts timestamptz, a_ordinal int, b_ts timestamptz, b_ordinal int)
RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM store.deltas d
                    WHERE d.market = of_market AND d.exchange_ts >= least(a_ts, b_ts) AND d.exchange_ts <= greatest(a_ts, b_ts)
                      AND ((d.exchange_ts, d.ordinal) > (a_ts, a_ordinal)) <> ((d.exchange_ts, d.ordinal) > (b_ts, b_ordinal)))
        OR EXISTS (SELECT FROM store.snapshots s
                    WHERE s.market = of_market AND s.exchange_ts >= least(a_ts, b_ts) AND s.exchange_ts <= greatest(a_ts, b_ts)
                      AND s.after_ordinal >= 0
                      AND ((s.exchange_ts, s.after_ordinal) > (a_ts, a_ordinal)) <> ((s.exchange_ts, s.after_ordinal) > (b_ts, b_ordinal)))
$$;
COMMENT ON FUNCTION store.changed_between IS 'Whether a change lies between two places: after the first of them, up to the second.';

-- A checkpoint is the book of its own place, whenever it was folded (store.checkpoint_at).
UPDATE store.snapshots SET taken_at = exchange_ts WHERE source = 'checkpoint';
