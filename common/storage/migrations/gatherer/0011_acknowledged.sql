-- An acknowledgement is answered: a reader that is refused knows it. Retention goes by the place of the newest epoch.
DROP FUNCTION acknowledge(text, bigint, smallint, bigint);
CREATE FUNCTION acknowledge(consumer text, epoch bigint, lane smallint, batch bigint) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH taken AS (
        INSERT INTO consumers AS c (consumer, lane, epoch, batch) VALUES ($1, $3, $2, $4)
        ON CONFLICT (consumer, lane) DO UPDATE
           SET epoch = excluded.epoch, batch = excluded.batch, acknowledged_at = now()
         WHERE excluded.epoch >= c.epoch
        RETURNING c.batch
    )
    SELECT EXISTS (SELECT FROM taken);
$$;
COMMENT ON FUNCTION acknowledge IS 'The one thing a reader may change here, also to an earlier batch. False: a newer epoch of the consumer is known, and nothing was changed.';
REVOKE EXECUTE ON FUNCTION acknowledge FROM PUBLIC;
GRANT EXECUTE ON FUNCTION acknowledge TO kalshi_reader;
