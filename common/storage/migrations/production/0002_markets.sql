-- Markets: a number for each ticker, and what the exchange's REST lists of them.

-- A market's number is written once, and stays.
CREATE TABLE store.markets (
    market bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY WITH (fillfactor = 100),
    ticker text NOT NULL UNIQUE
);
COMMENT ON TABLE store.markets IS 'Numbers for tickers; the empty ticker stands for all markets of a channel that carries them all.';

-- Metadata: the exchange's fields under their own names, the whole object in `raw`.
CREATE TABLE series (
    ticker     text PRIMARY KEY,
    title      text GENERATED ALWAYS AS (raw ->> 'title') STORED,
    category   text GENERATED ALWAYS AS (raw ->> 'category') STORED,
    updated_at timestamptz NOT NULL,
    raw        jsonb NOT NULL
);
COMMENT ON TABLE series IS 'Series, as REST lists them.';
COMMENT ON COLUMN series.ticker IS 'The series'' ticker.';
COMMENT ON COLUMN series.title IS 'Its title.';
COMMENT ON COLUMN series.category IS 'Its category.';
COMMENT ON COLUMN series.updated_at IS 'When production last took a change of this object over from REST.';
COMMENT ON COLUMN series.raw IS 'The whole object as REST gave it.';

CREATE TABLE events (
    ticker         text PRIMARY KEY,
    series_ticker  text GENERATED ALWAYS AS (raw ->> 'series_ticker') STORED,
    title          text GENERATED ALWAYS AS (raw ->> 'title') STORED,
    sub_title      text GENERATED ALWAYS AS (raw ->> 'sub_title') STORED,
    strike_date    text GENERATED ALWAYS AS (raw ->> 'strike_date') STORED,
    strike_period  text GENERATED ALWAYS AS (raw ->> 'strike_period') STORED,
    updated_at     timestamptz NOT NULL,
    raw            jsonb NOT NULL
);
COMMENT ON TABLE events IS 'Events, as REST lists them; combos included.';
COMMENT ON COLUMN events.ticker IS 'The event''s ticker.';
COMMENT ON COLUMN events.series_ticker IS 'The series that the event belongs to.';
COMMENT ON COLUMN events.title IS 'Its title.';
COMMENT ON COLUMN events.sub_title IS 'Its second title.';
COMMENT ON COLUMN events.strike_date IS 'Of the event: the date that it is about.';
COMMENT ON COLUMN events.strike_period IS 'Of the event: hour, day, week ..., in the exchange''s words.';
COMMENT ON COLUMN events.updated_at IS 'When production last took a change of this object over from REST.';
COMMENT ON COLUMN events.raw IS 'The whole object as REST gave it.';

CREATE TABLE markets (
    ticker        text PRIMARY KEY,
    event_ticker  text GENERATED ALWAYS AS (raw ->> 'event_ticker') STORED,
    market_type   text GENERATED ALWAYS AS (raw ->> 'market_type') STORED,
    title         text GENERATED ALWAYS AS (raw ->> 'title') STORED,
    yes_sub_title text GENERATED ALWAYS AS (raw ->> 'yes_sub_title') STORED,
    status        text GENERATED ALWAYS AS (raw ->> 'status') STORED,
    result        text GENERATED ALWAYS AS (raw ->> 'result') STORED,
    open_time     timestamptz,
    close_time    timestamptz,
    settlement_ts timestamptz,
    volume_fp     numeric GENERATED ALWAYS AS ((raw ->> 'volume_fp')::numeric) STORED,
    updated_at    timestamptz NOT NULL,
    raw           jsonb NOT NULL
);
CREATE INDEX ON markets (event_ticker);
CREATE INDEX ON markets (updated_at);
COMMENT ON TABLE markets IS 'Markets, as REST lists them. market_changes keeps their history.';
COMMENT ON COLUMN markets.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN markets.event_ticker IS 'The event that the market is an outcome of.';
COMMENT ON COLUMN markets.market_type IS 'binary or scalar.';
COMMENT ON COLUMN markets.title IS 'Its title.';
COMMENT ON COLUMN markets.yes_sub_title IS 'What YES stands for.';
COMMENT ON COLUMN markets.status IS 'The exchange''s word: initialized, active, inactive, closed, determined, disputed, amended or finalized.';
COMMENT ON COLUMN markets.result IS 'yes, no or scalar once the market is determined; empty before.';
COMMENT ON COLUMN markets.open_time IS 'When trading opens or opened.';
COMMENT ON COLUMN markets.close_time IS 'When trading ends or ended.';
COMMENT ON COLUMN markets.settlement_ts IS 'When it was settled.';
COMMENT ON COLUMN markets.volume_fp IS 'Contracts traded, as REST last listed.';
COMMENT ON COLUMN markets.updated_at IS 'When production last took a change of this object over from REST.';
COMMENT ON COLUMN markets.raw IS 'The whole object as REST gave it.';

CREATE TABLE market_changes (
    ticker  text NOT NULL,
    seen_at timestamptz NOT NULL,
    field   text NOT NULL,
    old     jsonb,
    new     jsonb
);
CREATE INDEX ON market_changes (ticker, seen_at);
COMMENT ON TABLE market_changes IS 'History of the metadata of markets; prices, volumes and updated_time, which change all the time, are left out.';
COMMENT ON COLUMN market_changes.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN market_changes.seen_at IS 'When production saw the change.';
COMMENT ON COLUMN market_changes.field IS 'The field of the market object.';
COMMENT ON COLUMN market_changes.old IS 'Its previous value, as JSON; null: it was not there.';
COMMENT ON COLUMN market_changes.new IS 'Its new value, as JSON.';

CREATE FUNCTION store.note_market_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.market_changes (ticker, seen_at, field, old, new)
    SELECT NEW.ticker, NEW.updated_at, coalesce(o.key, n.key), o.value, n.value
      FROM jsonb_each(OLD.raw) o FULL JOIN jsonb_each(NEW.raw) n ON n.key = o.key
     WHERE o.value IS DISTINCT FROM n.value
       AND coalesce(o.key, n.key) !~ '(_dollars|_fp)$'
       AND coalesce(o.key, n.key) <> 'updated_time';
    RETURN NEW;
END $$;
CREATE TRIGGER note_change AFTER UPDATE ON markets FOR EACH ROW
    WHEN (OLD.raw IS DISTINCT FROM NEW.raw) EXECUTE FUNCTION store.note_market_change();

-- Metadata is archived by day, as of the export: it takes a step, and touches no hour.
CREATE FUNCTION store.number_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM touched_rows) THEN
        PERFORM store.this_step();
    END IF;
    RETURN NULL;
END $$;
DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['series', 'events', 'markets'] LOOP
        EXECUTE format('CREATE TRIGGER step_insert AFTER INSERT ON public.%I REFERENCING NEW TABLE AS touched_rows'
                       ' FOR EACH STATEMENT EXECUTE FUNCTION store.number_change()', relation);
        EXECUTE format('CREATE TRIGGER step_update AFTER UPDATE ON public.%I REFERENCING NEW TABLE AS touched_rows'
                       ' FOR EACH STATEMENT EXECUTE FUNCTION store.number_change()', relation);
    END LOOP;
END $$;

CREATE TABLE store.crawls (
    list      text PRIMARY KEY,
    began_at  timestamptz NOT NULL,
    cursor    text NOT NULL,
    pages     bigint NOT NULL,
    rows      bigint NOT NULL,
    whole_at  timestamptz,
    since     timestamptz
);
COMMENT ON TABLE store.crawls IS 'How far each of the exchange''s lists has been read: a reading goes on where it was, also after a restart.';
COMMENT ON COLUMN store.crawls.began_at IS 'When the reading that goes on, or the last one, began.';
COMMENT ON COLUMN store.crawls.cursor IS 'The exchange''s own name of the next page; empty: none is being read.';
COMMENT ON COLUMN store.crawls.whole_at IS 'When the last reading that reached the end of the list began: what it shows is at least as new.';
COMMENT ON COLUMN store.crawls.since IS 'From when on the reading that goes on asks for changes; null: for all.';
