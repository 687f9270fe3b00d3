-- For the quality report. How long changes took: from the exchange to each gatherer, and to a commit here.
CREATE TABLE store.lags (
    hour     timestamptz NOT NULL,
    gatherer smallint NOT NULL,
    from_ms  int NOT NULL,
    changes  bigint NOT NULL,
    least_ms int NOT NULL,
    most_ms  int NOT NULL,
    PRIMARY KEY (hour, gatherer, from_ms)
);
COMMENT ON TABLE store.lags IS 'Order-book changes of an exchange hour by how long they took: from_ms (a power of two, 0, or -1 for less than nothing) to less than twice that. Gatherer 0 stands for production.';
COMMENT ON COLUMN store.lags.least_ms IS 'The least and the most of them: a clock that is behind shows in what took less than nothing.';

-- What the exchange has begun to send.
CREATE TABLE store.unknown_fields (
    gatherer   smallint NOT NULL REFERENCES store.gatherers,
    field      text NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen  timestamptz NOT NULL,
    PRIMARY KEY (gatherer, field)
);
COMMENT ON TABLE store.unknown_fields IS 'Fields (TYPE.FIELD) that the exchange sends and no row keeps; the journals have them. A loader tells of each once.';
