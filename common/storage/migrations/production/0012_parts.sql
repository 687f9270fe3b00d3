-- A run that lost its say in a contradiction gets it back with a snapshot that equals its book: then it holds two stretches.
CREATE TABLE store.parts (
    gatherer smallint NOT NULL REFERENCES store.gatherers,
    lane     smallint NOT NULL,
    run      bigint NOT NULL,
    market   bigint NOT NULL,
    channel  text NOT NULL,
    from_ts  timestamptz NOT NULL,
    to_ts    timestamptz NOT NULL CHECK (to_ts > from_ts),
    PRIMARY KEY (gatherer, lane, run, from_ts)
);
CREATE INDEX ON store.parts (market);
COMMENT ON TABLE store.parts IS 'What a run held before a contradiction, if it went on after it.';

CREATE OR REPLACE VIEW store.claims AS
SELECT r.gatherer, r.market, s.channel, r.cover_from AS from_ts,
       CASE WHEN r.ended THEN r.cover_to ELSE s.horizon END AS to_ts
  FROM store.runs r JOIN store.slices s USING (gatherer, lane, slice)
 WHERE r.cover_from < CASE WHEN r.ended THEN r.cover_to ELSE s.horizon END
UNION ALL
SELECT gatherer, market, channel, from_ts, to_ts FROM store.parts;
