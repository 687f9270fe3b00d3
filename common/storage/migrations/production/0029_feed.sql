-- The feed: production as a numbered log. A transaction that changes merged data has a step number; what it changed is one
-- row here, written in it. Readers go from step to step (docs/architecture/feed.md).
CREATE TABLE store.feed (
    step         bigint NOT NULL PRIMARY KEY,
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind         text NOT NULL,
    rows         int NOT NULL,
    from_ms      bigint,
    to_ms        bigint,
    block        bytea
) PARTITION BY RANGE (step);
ALTER TABLE store.feed ALTER COLUMN block SET STORAGE EXTERNAL;  -- it is compressed already
COMMENT ON TABLE store.feed IS 'What each transaction changed of merged data, under its step number, without holes. Kept for production.feed.keep.';
COMMENT ON COLUMN store.feed.step IS 'The transaction''s number: one more than that of the row before.';
COMMENT ON COLUMN store.feed.committed_at IS 'When the row was written, as the last of its transaction.';
COMMENT ON COLUMN store.feed.kind IS 'The writer: merge, lines, refill, heal, metadata, archive, retention or history. other: one that writes no block.';
COMMENT ON COLUMN store.feed.rows IS 'Rows of the block, those of its seal apart.';
COMMENT ON COLUMN store.feed.from_ms IS 'The least exchange time of the rows, milliseconds since 1970; null: none of them has one.';
COMMENT ON COLUMN store.feed.to_ms IS 'The greatest exchange time of the rows, inclusive.';
COMMENT ON COLUMN store.feed.block IS 'The rows: Arrow record batches with zstd (docs/formats.md). Null: the change is not in the feed.';

-- Partitions of so many steps each, made by the first step that needs one.
CREATE FUNCTION store.feed_part_steps() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 20000::bigint';

CREATE FUNCTION store.write_feed(of_step bigint, kind text, rows int, from_ms bigint, to_ms bigint, block bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, store, pg_temp AS $$
DECLARE
    size bigint := store.feed_part_steps();
    number bigint := of_step / size;
    part text := format('feed_p%s', number);
BEGIN
    IF to_regclass('store.' || part) IS NULL THEN
        EXECUTE format('CREATE TABLE store.%I (LIKE store.feed INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', part);
        EXECUTE format('ALTER TABLE store.%I ADD CONSTRAINT within_part CHECK (step >= %s AND step < %s)', part, number * size, (number + 1) * size);
        EXECUTE format('ALTER TABLE store.feed ATTACH PARTITION store.%I FOR VALUES FROM (%s) TO (%s)', part, number * size, (number + 1) * size);
        EXECUTE format('ALTER TABLE store.%I DROP CONSTRAINT within_part', part);
        EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON store.%I FROM kalshi_writer', part);
    END IF;
    INSERT INTO store.feed (step, kind, rows, from_ms, to_ms, block) VALUES (of_step, kind, rows, from_ms, to_ms, block);
    PERFORM pg_notify('kalshi_feed', of_step::text);
END $$;
COMMENT ON FUNCTION store.write_feed IS 'Writes the row of a step and makes its partition; for store.put_feed and the trigger alone.';

CREATE FUNCTION store.put_feed(kind text, rows int, from_ms bigint, to_ms bigint, block bytea) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, store, pg_temp AS $$
DECLARE
    number bigint := store.this_step();
BEGIN
    PERFORM store.write_feed(number, kind, rows, from_ms, to_ms, block);
    RETURN number;
END $$;
COMMENT ON FUNCTION store.put_feed IS 'What this transaction changed of merged data, under its step; once, as the last of the transaction.';

-- No step without its row, also of a writer that knows nothing of the feed: at the commit.
CREATE FUNCTION store.complete_feed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, store, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM store.feed f WHERE f.step = NEW.step) THEN
        PERFORM store.write_feed(NEW.step, 'other', 0, NULL, NULL, NULL);
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER feed_is_complete AFTER UPDATE ON store.lease DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.step IS DISTINCT FROM NEW.step) EXECUTE FUNCTION store.complete_feed();

-- Partitions whose rows are all older leave, but for the last one.
CREATE FUNCTION store.drop_feed(keep interval) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, store, pg_temp AS $$
DECLARE
    part record;
    newest timestamptz;
    gone bigint := 0;
BEGIN
    FOR part IN
        SELECT c.relname, substring(c.relname FROM '^feed_p(\d+)$')::bigint AS number
          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'store.feed'::regclass
           AND substring(c.relname FROM '^feed_p(\d+)$')::bigint < (SELECT step / store.feed_part_steps() FROM store.lease)
         ORDER BY 2
    LOOP
        EXECUTE format('SELECT committed_at FROM store.%I ORDER BY step DESC LIMIT 1', part.relname) INTO newest;
        EXIT WHEN newest >= now() - keep;
        EXECUTE format('ALTER TABLE store.feed DETACH PARTITION store.%I', part.relname);
        EXECUTE format('DROP TABLE store.%I', part.relname);
        gone := gone + 1;
    END LOOP;
    RETURN gone;
END $$;
COMMENT ON FUNCTION store.drop_feed IS 'Drops partitions of the feed whose rows are all so old; set a short lock_timeout before. Returns how many.';

REVOKE EXECUTE ON FUNCTION store.write_feed, store.put_feed, store.complete_feed, store.drop_feed FROM PUBLIC;
GRANT EXECUTE ON FUNCTION store.put_feed, store.drop_feed TO kalshi_writer;
REVOKE INSERT, UPDATE, DELETE ON store.feed FROM kalshi_writer;  -- through store.put_feed, and for nothing else

-- Trades that are given the ordinals of their twins are a change of the step: returned, so that the feed has them.
CREATE FUNCTION store.give_ordinals(of_markets bigint[], at_times timestamptz[])
RETURNS TABLE (placed_id uuid, placed_market bigint, placed_ts timestamptz, placed_ordinal int) LANGUAGE plpgsql
SET enable_seqscan = off AS $$  -- a plan that was made while a day was empty would read all of it
DECLARE
    first timestamptz;  -- first and last leave the other days' partitions alone from the start
    last timestamptz;
    ids uuid[];
    times timestamptz[];
    twins int[];
BEGIN
    SELECT min(t), max(t) INTO first, last FROM unnest(at_times) t;
    IF first IS NULL THEN
        RETURN;
    END IF;
    WITH place AS MATERIALIZED (
        SELECT DISTINCT p.market, p.exchange_ts,
               EXISTS (SELECT FROM store.detached g WHERE g.day = (p.exchange_ts AT TIME ZONE 'UTC')::date) AS archived
          FROM unnest(of_markets, at_times) p (market, exchange_ts)
    ), sold AS MATERIALIZED (
        SELECT t.market, t.exchange_ts, p.archived, (1 - t.taker_side)::smallint AS side,
               CASE t.taker_side WHEN 1 THEN t.yes_price ELSE 10000 - t.yes_price END AS price, t.count, t.trade_id, t.ordinal
          FROM place p JOIN store.trades t ON t.market = p.market AND t.exchange_ts = p.exchange_ts
         WHERE NOT t.is_block AND t.exchange_ts BETWEEN first AND last
    ), changed AS (
        SELECT d.market, d.exchange_ts, p.archived, d.side, d.price, -d.delta AS count, d.ordinal
          FROM place p JOIN store.deltas d ON d.market = p.market AND d.exchange_ts = p.exchange_ts
         WHERE d.delta < 0 AND d.exchange_ts BETWEEN first AND last
        UNION ALL
        SELECT d.market, d.exchange_ts, p.archived, d.side, d.price, -d.delta, d.ordinal
          FROM place p JOIN store.late_deltas d ON d.market = p.market AND d.exchange_ts = p.exchange_ts
         WHERE d.delta < 0
    ), wanted AS (
        SELECT market, exchange_ts, side, price, count, trade_id, ordinal AS has, NULL::int AS twin
          FROM sold WHERE NOT archived OR ordinal IS NULL
        UNION ALL
        SELECT market, exchange_ts, side, price, count, NULL, NULL, ordinal
          FROM changed c
         WHERE NOT archived
            OR NOT EXISTS (SELECT FROM sold s WHERE s.market = c.market AND s.exchange_ts = c.exchange_ts AND s.ordinal = c.ordinal)
    ), numbered AS (
        SELECT *, row_number() OVER (PARTITION BY market, exchange_ts, side, price, count, trade_id IS NULL
                                         ORDER BY trade_id, twin) AS nth
          FROM wanted
    ), paired AS (
        SELECT trade_id, exchange_ts, has, max(twin) OVER (PARTITION BY market, exchange_ts, side, price, count, nth) AS twin
          FROM numbered
    )
    SELECT array_agg(trade_id), array_agg(exchange_ts), array_agg(twin) INTO ids, times, twins
      FROM paired WHERE trade_id IS NOT NULL AND has IS DISTINCT FROM twin;
    IF ids IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    UPDATE store.trades t SET ordinal = n.ordinal FROM unnest(ids, times, twins) n (trade_id, exchange_ts, ordinal)
     WHERE t.trade_id = n.trade_id AND t.exchange_ts = n.exchange_ts AND t.exchange_ts BETWEEN first AND last
    RETURNING t.trade_id, t.market, t.exchange_ts, t.ordinal;
END $$;
COMMENT ON FUNCTION store.give_ordinals IS 'Gives the trades of some milliseconds of markets the ordinals of their twins, in the transaction that stores a trade or a change; returns the trades that changed.';
REVOKE EXECUTE ON FUNCTION store.give_ordinals FROM PUBLIC;
GRANT EXECUTE ON FUNCTION store.give_ordinals TO kalshi_writer;

CREATE OR REPLACE FUNCTION store.place_trades(of_markets bigint[], at_times timestamptz[]) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM store.give_ordinals(of_markets, at_times)
$$;
