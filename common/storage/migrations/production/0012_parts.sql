-- A run that lost its say in a contradiction gets it back with a snapshot that equals its book: then it holds two stretches.
CREATE TABLE store.run_parts (
    gatherer smallint NOT NULL REFERENCES store.gatherers,
    lane     smallint NOT NULL,
    run      bigint NOT NULL,
    market   bigint NOT NULL,
    channel  text NOT NULL,
    from_ts  timestamptz NOT NULL,
    to_ts    timestamptz NOT NULL CHECK (to_ts > from_ts),
    PRIMARY KEY (gatherer, lane, run, from_ts)
);
CREATE INDEX ON store.run_parts (market);
COMMENT ON TABLE store.run_parts IS 'What a run held before a contradiction, if it went on after it.';
