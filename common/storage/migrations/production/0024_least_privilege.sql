-- What is recorded stays as it is: the writer adds changes and ticks, and neither alters nor removes one. A day of
-- changes leaves as a whole, through a function that looks itself whether it may.
ALTER DEFAULT PRIVILEGES IN SCHEMA store REVOKE UPDATE, DELETE ON TABLES FROM kalshi_writer;
DO $do$
DECLARE
    part record;
    one record;
BEGIN
    FOR part IN SELECT t.relid FROM unnest(ARRAY['store.deltas', 'store.tickers', 'store.lifecycle']) AS kept (name)
                  CROSS JOIN LATERAL (SELECT relid FROM pg_partition_tree(kept.name::regclass)
                                       UNION SELECT kept.name::regclass) t LOOP
        EXECUTE format('REVOKE UPDATE, DELETE ON %s FROM kalshi_writer', part.relid::regclass);
    END LOOP;
    REVOKE DELETE ON store.trades, store.conflicts, store.quarantine, store.detached, store.exports FROM kalshi_writer;
    -- Found in the path of a function that runs as its owner: nothing of its caller's (pg_temp is last).
    FOR one IN SELECT p.oid::regprocedure AS name FROM pg_proc p
                WHERE p.prosecdef AND p.pronamespace IN ('public'::regnamespace, 'store'::regnamespace)
                  AND pg_get_userbyid(p.proowner) = current_user LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, store, pg_temp', one.name);
    END LOOP;
    -- The writer stages copies in temporary tables; nobody else makes anything.
    EXECUTE format('REVOKE TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO kalshi_writer', current_database());
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
END
$do$;

CREATE OR REPLACE FUNCTION store.drop_day(day date) RETURNS void LANGUAGE plpgsql
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
