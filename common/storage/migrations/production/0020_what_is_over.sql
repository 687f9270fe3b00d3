-- What a restart needs is what is open: a time line that is settled up to its end is read only when something of its
-- market comes. And what is claimed no longer is kept where the claims are.
ALTER TABLE store.runs ADD COLUMN excluded boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN store.runs.excluded IS 'It goes on, but gives neither rows nor coverage after cover_to, until it is readmitted.';
CREATE INDEX runs_excluded ON store.runs (market) WHERE excluded;

ALTER TABLE store.unplaced ADD COLUMN judged boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN store.unplaced.judged IS 'It contradicts the copy that covers it (a conflict of kind head): it is not compared again.';

CREATE TABLE store.retractions (
    market   bigint NOT NULL,
    channel  text NOT NULL,
    gatherer smallint REFERENCES store.gatherers,
    lane     smallint NOT NULL,
    run      bigint NOT NULL,
    from_ts  timestamptz NOT NULL,
    to_ts    timestamptz NOT NULL CHECK (to_ts > from_ts),
    reason   text NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON store.retractions (market);
COMMENT ON TABLE store.retractions IS 'What is claimed no longer: by one gatherer (a contradiction found after its run ended), or by all (no gatherer: exchange time stepped back).';
COMMENT ON COLUMN store.retractions.run IS 'The run that says so of itself; 0: another copy did.';
