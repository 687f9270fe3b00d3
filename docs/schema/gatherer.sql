-- A gatherer's database, as it is: generated (workshop/generate/schema.py), and applied by nothing.

CREATE FUNCTION public.acknowledge(consumer text, epoch bigint, lane smallint, batch bigint) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $_$
    WITH taken AS (
        INSERT INTO consumers AS c (consumer, lane, epoch, batch) VALUES ($1, $3, $2, $4)
        ON CONFLICT (consumer, lane) DO UPDATE
           SET epoch = excluded.epoch, batch = excluded.batch, acknowledged_at = now()
         WHERE excluded.epoch >= c.epoch
        RETURNING c.batch
    )
    SELECT EXISTS (SELECT FROM taken);
$_$;

COMMENT ON FUNCTION public.acknowledge(consumer text, epoch bigint, lane smallint, batch bigint) IS 'The one thing a reader may change here, also to an earlier batch. False: a newer epoch of the consumer is known, and nothing was changed.';

CREATE FUNCTION public.ensure_partition(at timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_catalog'
    SET lock_timeout TO '2s'
    AS $$
DECLARE
    part record;
    low timestamptz := date_trunc('hour', at, 'UTC');
    child text;
    pending boolean;
BEGIN
    IF storage_engine() = 'timescaledb' THEN RETURN; END IF;
    PERFORM pg_advisory_xact_lock(hashtext('ensure_partition'));
    FOR part IN SELECT name FROM partitioned_tables LOOP
        child := part.name || to_char(low AT TIME ZONE 'UTC', '"_p"YYYYMMDDHH24');
        IF to_regclass(child) IS NOT NULL THEN
            -- What is detached, or about to be, takes no rows: retention wanted it gone, and all of it is read or listed.
            pending := (SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = to_regclass(child));
            IF pending THEN
                EXECUTE format('ALTER TABLE %I DETACH PARTITION %I FINALIZE', part.name, child);
            END IF;
            IF pending IS NOT FALSE THEN
                EXECUTE format('DROP TABLE %I', child);
            END IF;
        END IF;
        IF to_regclass(child) IS NULL THEN
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', child, part.name);
            EXECUTE format('ALTER TABLE %I ADD CONSTRAINT hour CHECK (stored_at >= %L AND stored_at < %L)',
                           child, low, low + interval '1 hour');
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                           part.name, child, low, low + interval '1 hour');
            EXECUTE format('ALTER TABLE %I DROP CONSTRAINT hour', child);
        END IF;
    END LOOP;
END
$$;

COMMENT ON FUNCTION public.ensure_partition(at timestamp with time zone) IS 'Make the hour of a moment ready in every table, before its first row.';

CREATE FUNCTION public.keep_in_hours(relation text, compress_order text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_catalog'
    AS $_$
BEGIN
    IF coalesce((SELECT c.relkind = 'r' FROM partitioned_tables p JOIN pg_class c ON c.oid = to_regclass(p.name) LIMIT 1),
                EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')
                AND current_setting('timescaledb.license', true) IS DISTINCT FROM 'apache') THEN
        EXECUTE format($q$SELECT create_hypertable(%L, 'stored_at', chunk_time_interval => interval '1 hour',
                                 create_default_indexes => false)$q$, relation);
        EXECUTE format('ALTER TABLE %I SET (timescaledb.compress, timescaledb.compress_orderby = %L)', relation, compress_order);
    ELSE
        EXECUTE format('ALTER TABLE %I RENAME TO %I', relation, relation || '_before');
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL) PARTITION BY RANGE (stored_at)', relation, relation || '_before');
        EXECUTE format('DROP TABLE %I', relation || '_before');
    END IF;
    INSERT INTO partitioned_tables VALUES (relation, compress_order);
END $_$;

COMMENT ON FUNCTION public.keep_in_hours(relation text, compress_order text) IS 'Keep a new table, which has a column stored_at, in hours; call it before its indexes are made.';

CREATE FUNCTION public.storage_engine() RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'public', 'pg_catalog'
    AS $$
    SELECT CASE relkind WHEN 'p' THEN 'partitions' ELSE 'timescaledb' END FROM pg_class WHERE oid = 'public.deltas'::regclass
$$;

COMMENT ON FUNCTION public.storage_engine() IS 'What keeps the hours: timescaledb, or partitions.';

CREATE FUNCTION public.summarize_deltas() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_catalog'
    AS $$
BEGIN
    PERFORM brin_summarize_new_values(newest.oid)
       FROM (SELECT c.oid FROM pg_inherits h
               JOIN pg_index i ON i.indrelid = h.inhrelid
               JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam AND a.amname = 'brin'
              WHERE h.inhparent = 'deltas'::regclass
              ORDER BY h.inhrelid DESC LIMIT 2) newest;
END $$;

COMMENT ON FUNCTION public.summarize_deltas() IS 'Bring the new pages of the newest hours into their index: the loader does so every second.';

CREATE TABLE public.consumers (
    consumer text NOT NULL,
    lane smallint NOT NULL,
    epoch bigint NOT NULL,
    batch bigint NOT NULL,
    acknowledged_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE public.consumers IS 'How far each reader has stored what it read; retention keeps what one of them has not.';

CREATE TABLE public.lanes (
    lane smallint NOT NULL,
    state text DEFAULT 'open'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT lanes_state_check CHECK ((state = ANY (ARRAY['open'::text, 'draining'::text, 'closed'::text])))
);

COMMENT ON TABLE public.lanes IS 'A lane is one journal, its loader and its batch numbers.';

CREATE VIEW public.acknowledged AS
 SELECT lane,
    COALESCE(( SELECT min(COALESCE(c.batch, (0)::bigint)) AS min
           FROM (( SELECT DISTINCT consumers.consumer
                   FROM public.consumers) known
             LEFT JOIN public.consumers c ON (((c.consumer = known.consumer) AND (c.lane = l.lane))))), (0)::bigint) AS batch
   FROM public.lanes l;

COMMENT ON VIEW public.acknowledged IS 'The last batch of each lane that every registered consumer has stored; 0 without consumers.';

CREATE TABLE public.batches (
    lane smallint NOT NULL,
    batch bigint NOT NULL,
    journal uuid NOT NULL,
    segment bigint NOT NULL,
    end_offset bigint NOT NULL,
    frames bigint NOT NULL,
    delta_frames bigint NOT NULL,
    delta_rows bigint NOT NULL,
    delta_poisoned bigint NOT NULL,
    received_us bigint NOT NULL,
    alarms jsonb NOT NULL,
    loaded_at timestamp with time zone NOT NULL,
    previous bytea DEFAULT '\x'::bytea NOT NULL,
    digest bytea DEFAULT '\x'::bytea NOT NULL,
    row_counts jsonb,
    emptied boolean DEFAULT false NOT NULL,
    CONSTRAINT batches_batch_check CHECK ((batch > 0)),
    CONSTRAINT every_delta_frame_is_accounted_for CHECK ((delta_frames = (delta_rows + delta_poisoned)))
);

COMMENT ON TABLE public.batches IS 'One row per transaction of the loader; (segment, end_offset) is its place in the journal.';

COMMENT ON COLUMN public.batches.previous IS 'The digest of the batch before it in its lane; empty: it is the first, or was written by a release without digests.';

COMMENT ON COLUMN public.batches.digest IS 'Over the previous digest and what identifies the batch (gatherer/load/chain.py).';

COMMENT ON COLUMN public.batches.row_counts IS 'Its rows by table, without those of no rows (deltas: delta_rows); null: written by a release that did not count.';

COMMENT ON COLUMN public.batches.emptied IS 'Its rows were dropped, as every consumer had them; it stays as the place of its lane in the journal.';

CREATE TABLE public.breaks (
    lane smallint NOT NULL,
    batch bigint NOT NULL,
    session bigint NOT NULL,
    sid integer NOT NULL,
    reason text NOT NULL,
    expected bigint NOT NULL,
    received bigint NOT NULL,
    at_us bigint NOT NULL
);

COMMENT ON TABLE public.breaks IS 'Where the numbers of a subscription were not the next ones.';

CREATE TABLE public.deltas (
    lane smallint NOT NULL,
    batch bigint NOT NULL,
    run bigint NOT NULL,
    market bigint NOT NULL,
    seq bigint NOT NULL,
    exchange_ms bigint NOT NULL,
    ordinal integer NOT NULL,
    exchange_us smallint NOT NULL,
    side smallint NOT NULL,
    price integer NOT NULL,
    delta bigint NOT NULL,
    received_us bigint NOT NULL,
    stored_at timestamp with time zone NOT NULL
)
PARTITION BY RANGE (stored_at);

COMMENT ON TABLE public.deltas IS 'Order-book changes.';

COMMENT ON COLUMN public.deltas.ordinal IS 'Position among all changes of the market in the millisecond; -1: unknown, the run began in mid-group.';

COMMENT ON COLUMN public.deltas.exchange_us IS 'Microseconds within the millisecond; -1: the exchange sent none.';

COMMENT ON COLUMN public.deltas.side IS '0 yes, 1 no (prices of side no are NO prices).';

COMMENT ON COLUMN public.deltas.price IS 'Units of 1e-4 dollar.';

COMMENT ON COLUMN public.deltas.delta IS 'Signed size, units of 1e-2 contract.';

CREATE TABLE public.dropped_unread (
    lane smallint NOT NULL,
    from_batch bigint NOT NULL,
    to_batch bigint NOT NULL,
    from_us bigint NOT NULL,
    to_us bigint NOT NULL,
    dropped_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE public.dropped_unread IS 'Batches that had to go for want of space before every consumer had them: receive times, microseconds.';

CREATE TABLE public.horizons (
    lane smallint NOT NULL,
    batch bigint NOT NULL,
    slice bigint NOT NULL,
    horizon_ms bigint NOT NULL,
    ended boolean NOT NULL,
    reason text NOT NULL,
    stored_at timestamp with time zone NOT NULL
)
PARTITION BY RANGE (stored_at);

COMMENT ON TABLE public.horizons IS 'How far each slice is proven complete, in exchange time.';

CREATE TABLE public.partitioned_tables (
    name text NOT NULL,
    compress_order text NOT NULL
);

COMMENT ON TABLE public.partitioned_tables IS 'The tables that are kept in hours, and the order in which TimescaleDB compresses them.';

CREATE VIEW public.hours AS
 SELECT (parent.relname)::text AS name,
    (child.relname)::text AS partition,
    ("substring"(bounds.text, 'FROM \(''([^'']+)''\)'::text))::timestamp with time zone AS low,
    ("substring"(bounds.text, 'TO \(''([^'']+)''\)'::text))::timestamp with time zone AS high,
    pg_total_relation_size((child.oid)::regclass) AS bytes,
    format('ALTER TABLE %I DETACH PARTITION %I CONCURRENTLY'::text, parent.relname, child.relname) AS detach,
    format('DROP TABLE %I'::text, child.relname) AS remove
   FROM ((((public.partitioned_tables p
     JOIN pg_class parent ON ((parent.oid = (to_regclass(p.name))::oid)))
     JOIN pg_inherits i ON ((i.inhparent = parent.oid)))
     JOIN pg_class child ON ((child.oid = i.inhrelid)))
     CROSS JOIN LATERAL ( SELECT pg_get_expr(child.relpartbound, child.oid) AS text) bounds)
  WHERE (child.relpartbound IS NOT NULL)
UNION ALL
 SELECT p.name,
    (child.relname)::text AS partition,
    begun.low,
    (begun.low + '01:00:00'::interval) AS high,
    pg_total_relation_size((child.oid)::regclass) AS bytes,
    NULL::text AS detach,
    format('DROP TABLE %I'::text, child.relname) AS remove
   FROM (((public.partitioned_tables p
     JOIN pg_class parent ON (((parent.oid = (to_regclass(p.name))::oid) AND (parent.relkind = 'p'::"char"))))
     JOIN pg_class child ON (((child.relnamespace = parent.relnamespace) AND (child.relkind = 'r'::"char") AND (NOT (EXISTS ( SELECT
           FROM pg_inherits i
          WHERE (i.inhrelid = child.oid)))))))
     CROSS JOIN LATERAL ( SELECT to_timestamp(("substring"((child.relname)::text, (('^'::text || p.name) || '_p([0-9]{10})$'::text)) || '+00'::text), 'YYYYMMDDHH24TZH'::text) AS to_timestamp) begun(low))
  WHERE (begun.low IS NOT NULL);

COMMENT ON VIEW public.hours IS 'The hours of plain PostgreSQL, with the statements that take them away; detach is null for those that are detached.';

CREATE TABLE public.instance (
    instance uuid DEFAULT gen_random_uuid() NOT NULL,
    gatherer_id text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    only_one boolean DEFAULT true NOT NULL,
    CONSTRAINT instance_only_one_check CHECK (only_one)
);

COMMENT ON TABLE public.instance IS 'Who this database is: a machine rebuilt empty is another instance and is read from its first batch.';

CREATE TABLE public.lifecycle (
    lane smallint NOT NULL,
    batch bigint NOT NULL,
    market bigint NOT NULL,
    event_type text NOT NULL,
    payload jsonb NOT NULL,
    received_us bigint NOT NULL,
    stored_at timestamp with time zone NOT NULL
)
PARTITION BY RANGE (stored_at);

COMMENT ON TABLE public.lifecycle IS 'Lifecycle messages.';

CREATE TABLE public.listed_markets (
    ticker text NOT NULL,
    status text NOT NULL,
    open_time timestamp with time zone,
    close_time timestamp with time zone,
    seen_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE public.listed_markets IS 'The registry: the last of what REST and lifecycle messages had of each market.';

CREATE TABLE public.markets (
    market bigint NOT NULL,
    ticker text NOT NULL,
    used_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE public.markets IS 'Numbers for tickers, local to this instance, allotted before use. The empty ticker stands for all markets.';

COMMENT ON COLUMN public.markets.used_at IS 'When a loader last asked for the number; it uses it for a day after that at most.';

ALTER TABLE public.markets ALTER COLUMN market ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.markets_market_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.quarantine (
    lane smallint NOT NULL,
    batch bigint NOT NULL,
    session bigint NOT NULL,
    sid integer NOT NULL,
    seq bigint NOT NULL,
    reason text NOT NULL,
    received_us bigint NOT NULL,
    frame bytea NOT NULL
);

COMMENT ON TABLE public.quarantine IS 'Frames that could not become rows, as received.';

CREATE TABLE public.refused_records (
    lane smallint NOT NULL,
    journal uuid NOT NULL,
    segment bigint NOT NULL,
    end_offset bigint NOT NULL,
    reason text NOT NULL,
    refused_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE public.refused_records IS 'Records that made a batch fail three times in the same way, found by halving it; end_offset as in batches.';

CREATE TABLE public.rest_books (
    lane smallint NOT NULL,
    batch bigint NOT NULL,
    market bigint NOT NULL,
    requested_us bigint NOT NULL,
    answered_us bigint NOT NULL,
    agrees smallint NOT NULL,
    yes bigint[] NOT NULL,
    no bigint[] NOT NULL,
    stored_at timestamp with time zone NOT NULL
)
PARTITION BY RANGE (stored_at);

COMMENT ON TABLE public.rest_books IS 'Books as REST gave them.';

COMMENT ON COLUMN public.rest_books.agrees IS '1: the folded book was the same at an instant of the request; 0: at none; -1: not comparable.';

COMMENT ON COLUMN public.rest_books.no IS 'Price, size ...: NO prices; units of 1e-4 dollar and 1e-2 contract, best first.';

CREATE TABLE public.run_events (
    lane smallint NOT NULL,
    batch bigint NOT NULL,
    "position" integer NOT NULL,
    run bigint NOT NULL,
    event text NOT NULL,
    from_ms bigint NOT NULL,
    to_ms bigint NOT NULL,
    reason text NOT NULL,
    stored_at timestamp with time zone NOT NULL,
    CONSTRAINT run_events_event_check CHECK ((event = ANY (ARRAY['covers'::text, 'ended'::text, 'retracts'::text])))
)
PARTITION BY RANGE (stored_at);

COMMENT ON TABLE public.run_events IS 'What became of runs: what each covers, that it ended, what it takes back.';

CREATE TABLE public.runs (
    lane smallint NOT NULL,
    batch bigint NOT NULL,
    run bigint NOT NULL,
    slice bigint NOT NULL,
    market bigint NOT NULL,
    started_seq bigint NOT NULL,
    cover_from_ms bigint NOT NULL
);

COMMENT ON TABLE public.runs IS 'The part of each market in a slice, from its begin there.';

CREATE TABLE public.schema_migrations (
    name text NOT NULL,
    digest text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE public.schema_migrations IS 'The migrations that were applied to this database (fleet migrate).';

COMMENT ON COLUMN public.schema_migrations.name IS 'The file, without its ending.';

COMMENT ON COLUMN public.schema_migrations.digest IS 'SHA-256 of the file as it was applied.';

COMMENT ON COLUMN public.schema_migrations.applied_at IS 'When.';

CREATE TABLE public.sessions (
    lane smallint NOT NULL,
    batch bigint NOT NULL,
    session bigint NOT NULL,
    role text NOT NULL,
    connection integer NOT NULL,
    url text NOT NULL,
    use_yes_price boolean NOT NULL,
    started_us bigint NOT NULL
);

COMMENT ON TABLE public.sessions IS 'WebSocket connections, a row each.';

CREATE TABLE public.slices (
    lane smallint NOT NULL,
    batch bigint NOT NULL,
    slice bigint NOT NULL,
    session bigint NOT NULL,
    sid integer NOT NULL,
    channel text NOT NULL,
    started_seq bigint NOT NULL,
    started_us bigint NOT NULL
);

COMMENT ON TABLE public.slices IS 'Unbroken stretches of the numbered frames of one subscription.';

CREATE TABLE public.snapshots (
    lane smallint NOT NULL,
    batch bigint NOT NULL,
    run bigint NOT NULL,
    market bigint NOT NULL,
    seq bigint NOT NULL,
    kind text NOT NULL,
    exchange_ms bigint NOT NULL,
    after_ordinal integer NOT NULL,
    agrees smallint NOT NULL,
    taken_us bigint NOT NULL,
    yes bigint[] NOT NULL,
    no bigint[] NOT NULL,
    stored_at timestamp with time zone NOT NULL
)
PARTITION BY RANGE (stored_at);

COMMENT ON TABLE public.snapshots IS 'Books that the exchange sent.';

CREATE TABLE public.tickers (
    lane smallint NOT NULL,
    batch bigint NOT NULL,
    market bigint NOT NULL,
    exchange_ms bigint NOT NULL,
    price integer,
    yes_bid integer,
    yes_ask integer,
    yes_bid_size bigint,
    yes_ask_size bigint,
    volume bigint,
    open_interest bigint,
    received_us bigint NOT NULL,
    stored_at timestamp with time zone NOT NULL
)
PARTITION BY RANGE (stored_at);

COMMENT ON TABLE public.tickers IS 'Ticker messages.';

CREATE TABLE public.trades (
    lane smallint NOT NULL,
    batch bigint NOT NULL,
    slice bigint NOT NULL,
    seq bigint NOT NULL,
    trade_id uuid NOT NULL,
    market bigint NOT NULL,
    exchange_ms bigint NOT NULL,
    yes_price integer NOT NULL,
    count bigint NOT NULL,
    taker_side smallint NOT NULL,
    is_block boolean NOT NULL,
    received_us bigint NOT NULL,
    stored_at timestamp with time zone NOT NULL
)
PARTITION BY RANGE (stored_at);

COMMENT ON TABLE public.trades IS 'Trades.';

ALTER TABLE ONLY public.batches
    ADD CONSTRAINT batches_pkey PRIMARY KEY (lane, batch);

ALTER TABLE ONLY public.consumers
    ADD CONSTRAINT consumers_pkey PRIMARY KEY (consumer, lane);

ALTER TABLE ONLY public.dropped_unread
    ADD CONSTRAINT dropped_unread_pkey PRIMARY KEY (lane, from_batch);

ALTER TABLE ONLY public.instance
    ADD CONSTRAINT instance_only_one_key UNIQUE (only_one);

ALTER TABLE ONLY public.instance
    ADD CONSTRAINT instance_pkey PRIMARY KEY (instance);

ALTER TABLE ONLY public.lanes
    ADD CONSTRAINT lanes_pkey PRIMARY KEY (lane);

ALTER TABLE ONLY public.listed_markets
    ADD CONSTRAINT listed_markets_pkey PRIMARY KEY (ticker);

ALTER TABLE ONLY public.markets
    ADD CONSTRAINT markets_pkey PRIMARY KEY (market);

ALTER TABLE ONLY public.markets
    ADD CONSTRAINT markets_ticker_key UNIQUE (ticker);

ALTER TABLE ONLY public.partitioned_tables
    ADD CONSTRAINT partitioned_tables_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.refused_records
    ADD CONSTRAINT refused_records_pkey PRIMARY KEY (lane, journal, segment, end_offset);

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (name);

CREATE INDEX batches_lane_loaded_at_idx ON public.batches USING btree (lane, loaded_at);

CREATE INDEX breaks_batch_idx ON public.breaks USING btree (batch);

CREATE INDEX deltas_stored_at ON ONLY public.deltas USING brin (stored_at) WITH (pages_per_range='16', autosummarize='on');

CREATE INDEX horizons_batch_idx ON ONLY public.horizons USING btree (batch);

CREATE INDEX lifecycle_batch_idx ON ONLY public.lifecycle USING btree (batch);

CREATE INDEX quarantine_batch_idx ON public.quarantine USING btree (batch);

CREATE INDEX rest_books_batch_idx ON ONLY public.rest_books USING btree (batch);

CREATE INDEX run_events_batch_idx ON ONLY public.run_events USING btree (batch);

CREATE INDEX runs_batch_idx ON public.runs USING btree (batch);

CREATE INDEX runs_lane_slice_idx ON public.runs USING btree (lane, slice);

CREATE INDEX sessions_batch_idx ON public.sessions USING btree (batch);

CREATE INDEX slices_batch_idx ON public.slices USING btree (batch);

CREATE INDEX slices_lane_slice_idx ON public.slices USING btree (lane, slice);

CREATE INDEX snapshots_batch_idx ON ONLY public.snapshots USING btree (batch);

CREATE INDEX tickers_batch_idx ON ONLY public.tickers USING btree (batch);

CREATE INDEX trades_batch_idx ON ONLY public.trades USING btree (batch);

ALTER TABLE ONLY public.batches
    ADD CONSTRAINT batches_lane_fkey FOREIGN KEY (lane) REFERENCES public.lanes(lane);

ALTER TABLE ONLY public.consumers
    ADD CONSTRAINT consumers_lane_fkey FOREIGN KEY (lane) REFERENCES public.lanes(lane);

GRANT USAGE ON SCHEMA public TO kalshi_reader;

REVOKE ALL ON FUNCTION public.acknowledge(consumer text, epoch bigint, lane smallint, batch bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION public.acknowledge(consumer text, epoch bigint, lane smallint, batch bigint) TO kalshi_reader;

GRANT SELECT ON TABLE public.consumers TO kalshi_reader;

GRANT SELECT ON TABLE public.lanes TO kalshi_reader;

GRANT SELECT ON TABLE public.acknowledged TO kalshi_reader;

GRANT SELECT ON TABLE public.batches TO kalshi_reader;

GRANT SELECT ON TABLE public.breaks TO kalshi_reader;

GRANT SELECT ON TABLE public.deltas TO kalshi_reader;

GRANT SELECT ON TABLE public.dropped_unread TO kalshi_reader;

GRANT SELECT ON TABLE public.horizons TO kalshi_reader;

GRANT SELECT ON TABLE public.partitioned_tables TO kalshi_reader;

GRANT SELECT ON TABLE public.hours TO kalshi_reader;

GRANT SELECT ON TABLE public.instance TO kalshi_reader;

GRANT SELECT ON TABLE public.lifecycle TO kalshi_reader;

GRANT SELECT ON TABLE public.listed_markets TO kalshi_reader;

GRANT SELECT ON TABLE public.markets TO kalshi_reader;

GRANT SELECT ON TABLE public.quarantine TO kalshi_reader;

GRANT SELECT ON TABLE public.refused_records TO kalshi_reader;

GRANT SELECT ON TABLE public.rest_books TO kalshi_reader;

GRANT SELECT ON TABLE public.run_events TO kalshi_reader;

GRANT SELECT ON TABLE public.runs TO kalshi_reader;

GRANT SELECT ON TABLE public.schema_migrations TO kalshi_reader;

GRANT SELECT ON TABLE public.sessions TO kalshi_reader;

GRANT SELECT ON TABLE public.slices TO kalshi_reader;

GRANT SELECT ON TABLE public.snapshots TO kalshi_reader;

GRANT SELECT ON TABLE public.tickers TO kalshi_reader;

GRANT SELECT ON TABLE public.trades TO kalshi_reader;

ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public GRANT SELECT ON TABLES TO kalshi_reader;
