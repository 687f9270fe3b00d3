-- What contradicts, what could not be used, and what was checked.

CREATE TABLE store.conflicts (
    conflict    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text NOT NULL,
    market      bigint NOT NULL,
    exchange_ts timestamptz,
    versions    jsonb NOT NULL,
    seen_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON store.conflicts (market, exchange_ts);
COMMENT ON TABLE store.conflicts IS 'Copies that contradict each other, with all versions.';

CREATE TABLE store.quarantine (
    gatherer    smallint NOT NULL REFERENCES store.gatherers,
    session     bigint NOT NULL,
    sid         int NOT NULL,
    seq         bigint NOT NULL,
    reason      text NOT NULL,
    received_at timestamptz NOT NULL,
    frame       bytea NOT NULL
);
CREATE INDEX ON store.quarantine (gatherer, session, sid, seq);
COMMENT ON TABLE store.quarantine IS 'Frames that could not become rows, as received.';

-- One bad thing costs itself only.
CREATE TABLE store.set_aside (
    kind     text NOT NULL,
    key      text NOT NULL,
    reason   text NOT NULL,
    first_at timestamptz NOT NULL,
    last_at  timestamptz NOT NULL,
    tries    int NOT NULL,
    retry_at timestamptz NOT NULL,
    PRIMARY KEY (kind, key)
);
COMMENT ON TABLE store.set_aside IS 'Entries of foreign data that failed alone: tried again from retry_at on, gone once they work. At most 200 of each kind.';
COMMENT ON COLUMN store.set_aside.kind IS 'trade_gap, rest_trade, hour, day, checkpoint, list, metadata_row ...: docs/architecture/deduplicator.md has them all.';

-- What each exported hour was checked for (rule 8 of the merge).
CREATE TABLE store.checks (
    hour       timestamptz NOT NULL,
    check_name text NOT NULL,
    compared   bigint NOT NULL,
    failed     bigint NOT NULL,
    examples   jsonb NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (hour, check_name)
);
COMMENT ON TABLE store.checks IS 'The checks of each hour, as of its last export while its changes were in production.';

-- How long changes took: from the exchange to each gatherer, and to a commit here.
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
COMMENT ON COLUMN store.lags.least_ms IS 'The least and the most of them: a clock that is late shows in what took less than nothing.';

-- What the exchange has begun to send.
CREATE TABLE store.unknown_fields (
    gatherer   smallint NOT NULL REFERENCES store.gatherers,
    field      text NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen  timestamptz NOT NULL,
    PRIMARY KEY (gatherer, field)
);
COMMENT ON TABLE store.unknown_fields IS 'Fields (TYPE.FIELD) that the exchange sends and no row keeps; the journals have them. A loader reports each once.';
