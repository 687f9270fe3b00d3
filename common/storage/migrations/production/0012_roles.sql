-- Group roles, and all that each may; accounts that log in are made members of one (docs/runbooks). The owner, who
-- migrates, is the account of no process. Roles belong to the whole server: they may be there already.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['kalshi_writer', 'kalshi_reader', 'kalshi_analyst'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;
    -- The writer stages copies in temporary tables; nobody else makes anything.
    EXECUTE format('REVOKE TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO kalshi_writer', current_database());
END $$;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

-- All read, but for frames as they came, from anybody: those are not for analysts.
GRANT USAGE ON SCHEMA public, store TO kalshi_writer, kalshi_reader, kalshi_analyst;
GRANT SELECT ON ALL TABLES IN SCHEMA public, store TO kalshi_writer, kalshi_reader, kalshi_analyst;
REVOKE SELECT ON store.quarantine, quarantine FROM kalshi_analyst;
ALTER DEFAULT PRIVILEGES IN SCHEMA public, store GRANT SELECT ON TABLES TO kalshi_writer, kalshi_reader, kalshi_analyst;

-- What is recorded stays as it is: the writer adds changes and ticks, and neither alters nor removes one. To a new table it
-- may add; what it also changes or removes is granted by name.
GRANT INSERT ON ALL TABLES IN SCHEMA store TO kalshi_writer;
REVOKE INSERT ON store.feed FROM kalshi_writer;  -- through store.put_feed, and for nothing else
DO $$  -- a view takes no rows
DECLARE
    one regclass;
BEGIN
    FOR one IN SELECT oid FROM pg_class WHERE relnamespace = 'store'::regnamespace AND relkind = 'v' LOOP
        EXECUTE format('REVOKE INSERT ON %s FROM kalshi_writer', one);
    END LOOP;
END $$;
GRANT UPDATE ON store.trades, store.conflicts, store.quarantine, store.detached, store.exports, store.feed_hours, store.held
   TO kalshi_writer;
GRANT INSERT, UPDATE, DELETE ON series, events, markets, market_changes TO kalshi_writer;
GRANT UPDATE, DELETE ON
      store.accounts, store.batch_digests, store.checks, store.crawls, store.cursors, store.gaps, store.gatherers,
      store.hours_touched, store.lags, store.late_deltas, store.lease, store.lines, store.markets, store.put_backs, store.refills,
      store.reset_votes, store.rest_books, store.rest_candles, store.retractions, store.run_parts,
      store.runs, store.set_aside, store.slices, store.snapshots, store.unknown_fields, store.unplaced
   TO kalshi_writer;
ALTER DEFAULT PRIVILEGES IN SCHEMA store GRANT INSERT ON TABLES TO kalshi_writer;

-- Functions that run as their owner, and those that write.
REVOKE EXECUTE ON FUNCTION store.add_day, store.drop_day, store.checkpoint, store.checkpoint_at, store.place_trades,
       store.give_ordinals, store.write_feed, store.put_feed, store.complete_feed, store.drop_feed FROM PUBLIC;
GRANT EXECUTE ON FUNCTION store.add_day, store.drop_day, store.checkpoint, store.checkpoint_at, store.place_trades,
      store.give_ordinals, store.put_feed, store.drop_feed TO kalshi_writer;
