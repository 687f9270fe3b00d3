-- Changes of the order books, by day; those whose place is not known; days that have left for the archive.

CREATE TABLE store.deltas (
    market      bigint NOT NULL,
    exchange_ts timestamptz NOT NULL,
    ordinal     int NOT NULL,
    exchange_us smallint NOT NULL,
    side        smallint NOT NULL,
    price       int NOT NULL,
    delta       bigint NOT NULL,
    received_at timestamptz NOT NULL
) PARTITION BY RANGE (exchange_ts);
CREATE UNIQUE INDEX deltas_identity ON store.deltas (market, exchange_ts, ordinal);
CREATE INDEX deltas_time ON store.deltas USING brin (exchange_ts) WITH (autosummarize = on);
COMMENT ON TABLE store.deltas IS 'Every order-book change, once, by its identity: market, exchange millisecond, ordinal. A partition a day.';

CREATE TABLE store.unplaced (
    gatherer    smallint NOT NULL REFERENCES store.gatherers,
    session     bigint NOT NULL,
    sid         int NOT NULL,
    seq         bigint NOT NULL,
    lane        smallint NOT NULL,
    run         bigint NOT NULL,
    market      bigint NOT NULL,
    exchange_ts timestamptz NOT NULL,
    exchange_us smallint NOT NULL,
    side        smallint NOT NULL,
    price       int NOT NULL,
    delta       bigint NOT NULL,
    received_at timestamptz NOT NULL,
    judged      boolean NOT NULL DEFAULT false,
    PRIMARY KEY (gatherer, session, sid, seq, run)  -- a repeated frame has the number of the first, in another run
);
CREATE INDEX ON store.unplaced (market, exchange_ts);
COMMENT ON TABLE store.unplaced IS 'Changes whose ordinal is unknown, kept apart until a copy that covers their millisecond decides.';
COMMENT ON COLUMN store.unplaced.judged IS 'It contradicts the copy that covers it (a conflict of kind head): it is not compared again.';

CREATE TABLE store.detached (
    day         date PRIMARY KEY,
    detached_at timestamptz NOT NULL DEFAULT now(),
    rows        bigint NOT NULL,
    late_rows   bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE store.detached IS 'Days whose partition of deltas was dropped: the archive has them. Rows that come later wait in late_deltas.';
COMMENT ON COLUMN store.detached.rows IS 'Changes that left with the partition.';
COMMENT ON COLUMN store.detached.late_rows IS 'Changes that came later and left by an export; those that the archive had are counted too.';

CREATE TABLE store.late_deltas (
    market      bigint NOT NULL,
    exchange_ts timestamptz NOT NULL,
    ordinal     int NOT NULL,
    exchange_us smallint NOT NULL,
    side        smallint NOT NULL,
    price       int NOT NULL,
    delta       bigint NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (market, exchange_ts, ordinal)
);
CREATE INDEX ON store.late_deltas (exchange_ts);
COMMENT ON TABLE store.late_deltas IS 'Changes of days that are no longer here, until the next export unites them with the archive''s hour.';

-- Making and dropping partitions needs the owner: through these functions, and for nothing else. A partition is built
-- beside the table and attached with a matching check; there is no default partition.
CREATE FUNCTION store.add_day(parent text, day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, store, pg_temp AS $$
DECLARE
    part text := format('%s_p%s', parent, to_char(day, 'YYYYMMDD'));
    lo timestamptz := day::timestamp AT TIME ZONE 'UTC';
    hi timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    -- The merge, a refill and the housekeeping come to the same new day at once: one makes it, the others find it.
    PERFORM pg_advisory_xact_lock(hashtext('store.add_day'));
    IF to_regclass('store.' || part) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE store.%I (LIKE store.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', part, parent);
    EXECUTE format('ALTER TABLE store.%I ADD CONSTRAINT within_day CHECK (exchange_ts >= %L AND exchange_ts < %L)', part, lo, hi);
    EXECUTE format('ALTER TABLE store.%I ATTACH PARTITION store.%I FOR VALUES FROM (%L) TO (%L)', parent, part, lo, hi);
    EXECUTE format('ALTER TABLE store.%I DROP CONSTRAINT within_day', part);
END $$;

CREATE FUNCTION store.drop_day(day date) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, store, pg_temp AS $$
DECLARE
    part text := format('deltas_p%s', to_char(day, 'YYYYMMDD'));
    lo timestamptz := day::timestamp AT TIME ZONE 'UTC';
    lacking bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM store.detached d WHERE d.day = drop_day.day) THEN
        RAISE EXCEPTION 'store.detached does not say that % leaves', day;
    END IF;
    IF day >= (now() AT TIME ZONE 'UTC')::date THEN
        RAISE EXCEPTION '% is not over', day;
    END IF;
    SELECT count(*) INTO lacking
      FROM (SELECT date_trunc('hour', exchange_ts, 'UTC') AS hour, count(*) AS rows FROM store.deltas
             WHERE exchange_ts >= lo AND exchange_ts < lo + interval '24 hours' GROUP BY 1) h
      LEFT JOIN store.exports e USING (hour)
     WHERE coalesce(e.delta_rows, 0) < h.rows;
    IF lacking > 0 THEN
        RAISE EXCEPTION '% hours of % are not archived', lacking, day;
    END IF;
    EXECUTE format('ALTER TABLE store.deltas DETACH PARTITION store.%I', part);
    EXECUTE format('DROP TABLE store.%I', part);
END $$;
COMMENT ON FUNCTION store.drop_day IS 'Drops a day of changes whose late rows already go elsewhere; set a short lock_timeout before.';
