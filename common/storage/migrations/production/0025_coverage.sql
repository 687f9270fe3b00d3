-- Coverage: what each run provably holds, their union, and the complement. A market that ended long ago keeps one row of
-- what each gatherer held of its book (0027). A market's first stretch before its first book is no row: it follows from
-- its time line and its first claim.
CREATE TABLE store.held (
    market     bigint PRIMARY KEY WITH (fillfactor = 100),
    first_seen timestamptz NOT NULL,
    ended_at   timestamptz NOT NULL,
    claims     bytea
);
CREATE INDEX held_ends ON store.held USING brin (ended_at) WITH (autosummarize = on);
COMMENT ON TABLE store.held IS 'Markets that ended long ago: their time lines, and what was claimed of their order books. A row of store.lines, if something came of one since, stands for its time line.';
COMMENT ON COLUMN store.held.claims IS '14 bytes a stretch (store.pack_claims); null: no gatherer ever had a run of it.';

CREATE FUNCTION store.ms_of(at timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT (extract(epoch FROM at) * 1000)::bigint
$$;

-- A stretch: the gatherer's number (2 bytes), from and to (6 each, milliseconds since 1970).
CREATE FUNCTION store.pack_claims(gatherers smallint[], from_ts timestamptz[], to_ts timestamptz[]) RETURNS bytea
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(string_agg(int2send(gatherer) || substring(int8send(store.ms_of(from_ts)) FROM 3)
                                                  || substring(int8send(store.ms_of(to_ts)) FROM 3), ''::bytea
                               ORDER BY gatherer, from_ts), ''::bytea)
      FROM unnest(gatherers, from_ts, to_ts) x (gatherer, from_ts, to_ts)
$$;
CREATE FUNCTION store.unpack_claims(claims bytea)
RETURNS TABLE (gatherer smallint, from_ts timestamptz, to_ts timestamptz) LANGUAGE sql STABLE AS $$
    SELECT ('x' || substring(hex FROM n FOR 4))::bit(16)::int::smallint,
           timestamptz '1970-01-01 00:00:00+00' + ('x0000' || substring(hex FROM n + 4 FOR 12))::bit(64)::bigint * interval '1 millisecond',
           timestamptz '1970-01-01 00:00:00+00' + ('x0000' || substring(hex FROM n + 16 FOR 12))::bit(64)::bigint * interval '1 millisecond'
      FROM encode(claims, 'hex') hex, generate_series(1, length(hex), 28) n
$$;

-- All that is known of a market's time line, whichever form it has.
CREATE VIEW store.market_lines AS
SELECT m.market, m.ticker, coalesce(l.seen_at, h.first_seen) AS seen_at,
       CASE WHEN l.market IS NULL THEN h.first_seen ELSE l.first_seen END AS first_seen,
       CASE WHEN l.market IS NULL THEN h.ended_at ELSE l.ended_at END AS ended_at,
       coalesce(l.over, true) AS over, h.claims IS NOT NULL AS held
  FROM store.markets m LEFT JOIN store.lines l USING (market) LEFT JOIN store.held h USING (market);
COMMENT ON VIEW store.market_lines IS 'Markets with their time lines; held: runs of it are kept in store.held.';
COMMENT ON COLUMN store.market_lines.seen_at IS 'When the market got its number; of one that ended long ago this is forgotten.';

CREATE VIEW store.parts AS
SELECT gatherer, lane, run, market, channel, from_ts, to_ts FROM store.run_parts
UNION ALL
SELECT p.gatherer, (-1)::smallint, 0::bigint, h.market, 'orderbook_delta', p.from_ts, p.to_ts
  FROM store.held h, store.unpack_claims(h.claims) p;
COMMENT ON VIEW store.parts IS 'Stretches that were held by runs that claim something else now, or are no longer kept one by one (lane -1).';

-- What is claimed, less what is claimed no longer.
CREATE VIEW store.claims AS
SELECT c.gatherer, c.market, c.channel, lower(x.held) AS from_ts, upper(x.held) AS to_ts
  FROM (SELECT r.gatherer, r.market, s.channel, r.cover_from AS from_ts,
               CASE WHEN r.ended THEN r.cover_to ELSE s.horizon END AS to_ts
          FROM store.runs r JOIN store.slices s USING (gatherer, lane, slice)
         WHERE r.cover_from < CASE WHEN r.ended THEN r.cover_to ELSE s.horizon END
        UNION ALL
        SELECT gatherer, market, channel, from_ts, to_ts FROM store.parts) c,
       LATERAL unnest(tstzmultirange(tstzrange(c.from_ts, c.to_ts)) - coalesce(
           (SELECT range_agg(tstzrange(t.from_ts, t.to_ts)) FROM store.retractions t
             WHERE t.market = c.market AND t.channel = c.channel AND (t.gatherer IS NULL OR t.gatherer = c.gatherer)),
           '{}')) x (held);
CREATE VIEW store.covered AS
SELECT market, channel, range_agg(tstzrange(from_ts, to_ts)) AS held FROM store.claims GROUP BY market, channel;

CREATE VIEW store.tiled AS
SELECT market, channel, range_agg(tiles) AS tiles
  FROM (SELECT market, channel, tstzrange(from_ts, to_ts) AS tiles FROM store.claims
        UNION ALL
        SELECT market, channel, tstzrange(started_at, ended_at) FROM store.gaps WHERE healed_at IS NULL) t
 GROUP BY market, channel;

-- Channels that carry all markets have one time line; every market shows it as its own.
CREATE VIEW store.time_lines AS
SELECT m.market, m.ticker, c.channel, coalesce(m.first_seen, m.seen_at) AS first_seen, m.ended_at,
       CASE WHEN c.shared THEN everything.market ELSE m.market END AS line
  FROM store.market_lines m
 CROSS JOIN (VALUES ('orderbook_delta', false), ('trade', true), ('market_lifecycle_v2', true),
                    ('multivariate_market_lifecycle', true)) c (channel, shared)
  LEFT JOIN store.markets everything ON everything.ticker = ''
 WHERE m.ticker <> ''
   AND CASE c.channel WHEN 'market_lifecycle_v2' THEN m.ticker NOT LIKE 'KXMVE%'
                      WHEN 'multivariate_market_lifecycle' THEN m.ticker LIKE 'KXMVE%'
                      WHEN 'orderbook_delta' THEN m.held OR EXISTS (SELECT FROM store.runs r WHERE r.market = m.market)
                      ELSE true END
   AND (m.first_seen IS NOT NULL OR EXISTS (SELECT FROM store.runs r WHERE r.market = m.market));

CREATE VIEW coverage AS
SELECT t.ticker, t.channel, t.first_seen,
       coalesce((SELECT least(upper(r), t.ended_at) FROM unnest(x.tiles) r
                  WHERE upper(r) > t.first_seen AND (lower(r) <= t.first_seen OR t.channel = 'orderbook_delta')
                  ORDER BY lower(r) LIMIT 1), t.first_seen) AS sealed_until,
       t.ended_at
  FROM store.time_lines t LEFT JOIN store.tiled x ON x.market = t.line AND x.channel = t.channel;
COMMENT ON VIEW coverage IS 'Up to sealed_until, every stretch of the market''s time line is covered or listed in coverage_gaps.';

CREATE VIEW coverage_by_gatherer AS
SELECT t.ticker, t.channel, g.gatherer_id, range_agg(tstzrange(c.from_ts, c.to_ts)) AS held
  FROM store.claims c
  JOIN store.time_lines t ON t.line = c.market AND t.channel = c.channel
  JOIN store.gatherers g USING (gatherer)
 GROUP BY t.ticker, t.channel, g.gatherer_id;
COMMENT ON VIEW coverage_by_gatherer IS 'The exchange time in which each gatherer provably holds everything.';

CREATE VIEW store.beginnings AS
SELECT t.market, t.ticker, t.first_seen AS started_at, least(tile.begin, t.ended_at) AS ended_at
  FROM store.time_lines t
 CROSS JOIN LATERAL (
        SELECT min(x.begin) AS begin
          FROM (SELECT c.from_ts FROM store.claims c
                 WHERE c.market = t.market AND c.channel = t.channel AND c.to_ts > t.first_seen
                UNION ALL
                SELECT g.started_at FROM store.gaps g
                 WHERE g.market = t.market AND g.channel = t.channel AND g.healed_at IS NULL AND g.ended_at > t.first_seen
               ) x (begin)) tile
 WHERE t.channel = 'orderbook_delta' AND tile.begin > t.first_seen AND t.first_seen < coalesce(t.ended_at, 'infinity');
COMMENT ON VIEW store.beginnings IS 'The first gaps of markets'' order books, before anything is held: they are no rows, and follow from the time line and its first claim or gap.';

CREATE VIEW coverage_gaps AS
SELECT t.ticker, g.channel, greatest(g.started_at, t.first_seen) AS started_at,
       least(g.ended_at, coalesce(t.ended_at, g.ended_at)) AS ended_at, g.reason,
       CASE WHEN g.channel = 'orderbook_delta' AND g.reason <> 'before_subscription'
            THEN store.book_equal(g.market, g.started_at, g.ended_at) END AS book_equal,
       coalesce(g.healed_at, g.refilled_at) AS healed_at, g.had,
       CASE WHEN g.healed_at IS NOT NULL THEN 'copy' WHEN g.refilled_at IS NOT NULL THEN 'rest' END AS healed_by
  FROM store.gaps g JOIN store.time_lines t ON t.line = g.market AND t.channel = g.channel
 WHERE g.ended_at > t.first_seen AND g.started_at < coalesce(t.ended_at, 'infinity')
UNION ALL
SELECT ticker, 'orderbook_delta', started_at, ended_at, 'before_subscription', NULL, NULL, '{}', NULL FROM store.beginnings;
COMMENT ON VIEW coverage_gaps IS 'Stretches of exchange time that no copy provably recorded. healed_at: a late copy covered it after all, or REST listed its trades (healed_by). A market''s first stretch before its first book (before_subscription) follows from coverage, and shrinks if an earlier copy comes.';

COMMENT ON COLUMN coverage.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN coverage.channel IS 'orderbook_delta, trade, market_lifecycle_v2 or multivariate_market_lifecycle.';
COMMENT ON COLUMN coverage.first_seen IS 'Begin of the market''s time line: the later of its opening and the fleet''s first moment.';
COMMENT ON COLUMN coverage.sealed_until IS 'Up to here every stretch is covered, or listed in coverage_gaps.';
COMMENT ON COLUMN coverage.ended_at IS 'End of the time line, once the market is settled; null: it goes on.';

COMMENT ON COLUMN coverage_by_gatherer.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN coverage_by_gatherer.channel IS 'orderbook_delta, trade, market_lifecycle_v2 or multivariate_market_lifecycle.';
COMMENT ON COLUMN coverage_by_gatherer.gatherer_id IS 'The gatherer''s name.';
COMMENT ON COLUMN coverage_by_gatherer.held IS 'Stretches of exchange time in which this gatherer provably holds everything.';

COMMENT ON COLUMN coverage_gaps.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN coverage_gaps.channel IS 'orderbook_delta, trade, market_lifecycle_v2 or multivariate_market_lifecycle.';
COMMENT ON COLUMN coverage_gaps.started_at IS 'Begin, exchange time, inclusive.';
COMMENT ON COLUMN coverage_gaps.ended_at IS 'End, exclusive.';
COMMENT ON COLUMN coverage_gaps.reason IS 'before_subscription, not_recorded, conflict, quarantined, step_back or dropped_unread.';
COMMENT ON COLUMN coverage_gaps.book_equal IS 'Whether the books before and after are equal, which proves nothing of what was between; null: not known.';
COMMENT ON COLUMN coverage_gaps.healed_at IS 'When a late copy or the exchange''s own list filled it; null: open.';
COMMENT ON COLUMN coverage_gaps.had IS 'Why each gatherer''s last run before it ended, by production''s number of the gatherer.';
COMMENT ON COLUMN coverage_gaps.healed_by IS 'copy: a gatherer had it after all. rest: the exchange''s list of trades.';

CREATE FUNCTION store.touch_by_retractions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM store.touch(ARRAY(SELECT DISTINCT h FROM touched_rows r, store.hours_within(r.from_ts, r.to_ts) h));
    RETURN NULL;
END $$;
CREATE TRIGGER touch_insert_new AFTER INSERT ON store.retractions REFERENCING NEW TABLE AS touched_rows
    FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_retractions();

-- Of what has its small form something comes: its time line is open again, until it takes that form again.
CREATE FUNCTION store.reopen_lines(markets bigint[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO store.lines (market, seen_at, first_seen, ended_at, over)
    SELECT market, first_seen, first_seen, ended_at, true FROM store.held WHERE market = ANY (markets)
    ON CONFLICT (market) DO NOTHING
$$;
COMMENT ON FUNCTION store.reopen_lines IS 'Time lines of these markets, as store.held has them, become rows of store.lines.';

-- The first claim of a line ends its first gap: a run that claims from before all others touches the hours between, when
-- it begins and when it comes to claim more.
CREATE FUNCTION store.hours_begun(markets bigint[], begun timestamptz[]) RETURNS SETOF timestamptz LANGUAGE sql STABLE AS $$
    SELECT DISTINCT h
      FROM unnest(markets, begun) r (market, cover_from) JOIN store.market_lines m USING (market),
           store.hours_within(m.first_seen, r.cover_from + interval '1 millisecond') h
     WHERE r.cover_from > m.first_seen AND m.ticker <> ''
       AND NOT EXISTS (SELECT FROM store.runs o
                        WHERE o.market = r.market AND o.cover_from < r.cover_from
                          AND (NOT o.ended OR o.cover_to > greatest(o.cover_from, m.first_seen)))
       AND NOT EXISTS (SELECT FROM store.parts p
                        WHERE p.market = r.market AND p.from_ts < r.cover_from AND p.to_ts > m.first_seen)
$$;
CREATE FUNCTION store.touch_by_runs() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    markets bigint[];
    begun   timestamptz[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM store.reopen_lines(ARRAY(SELECT market FROM touched_rows));
        SELECT array_agg(market), array_agg(cover_from) INTO markets, begun FROM touched_rows WHERE cover_from IS NOT NULL;
    ELSE
        SELECT array_agg(n.market), array_agg(n.cover_from) INTO markets, begun
          FROM old_rows o JOIN touched_rows n USING (gatherer, lane, run)
         WHERE n.cover_from < coalesce(o.cover_from, 'infinity');
    END IF;
    IF markets IS NOT NULL THEN
        PERFORM store.touch(ARRAY(SELECT store.hours_begun(markets, begun)));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER touch_insert_new AFTER INSERT ON store.runs REFERENCING NEW TABLE AS touched_rows
    FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_runs();
CREATE TRIGGER touch_update_new AFTER UPDATE ON store.runs REFERENCING OLD TABLE AS old_rows NEW TABLE AS touched_rows
    FOR EACH STATEMENT EXECUTE FUNCTION store.touch_by_runs();
