-- Coverage: what each run provably holds, their union, and the complement. A market's first stretch before its first book is
-- no row: it follows from its time line and its first claim.

CREATE TABLE store.gaps (
    gap        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    market     bigint NOT NULL,
    channel    text NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz NOT NULL CHECK (ended_at > started_at),
    reason     text NOT NULL,
    had        jsonb NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    healed_at  timestamptz,
    refilled_at timestamptz
);
CREATE INDEX ON store.gaps (market, channel, started_at);
COMMENT ON TABLE store.gaps IS 'Stretches of a market and channel that no copy provably recorded, one row each; those that were filled since are kept, marked.';
COMMENT ON COLUMN store.gaps.had IS 'Why each gatherer''s last run before the gap ended.';
COMMENT ON COLUMN store.gaps.refilled_at IS 'When the exchange''s own list of trades was found complete over the gap, and was taken over. The gap stays a tile of coverage.';

-- Trades that no gatherer received, from REST.
CREATE TABLE store.refills (
    gap         bigint PRIMARY KEY REFERENCES store.gaps,
    tried_at    timestamptz NOT NULL,
    tries       int NOT NULL,
    from_ts     timestamptz NOT NULL,
    to_ts       timestamptz NOT NULL,
    listed      bigint NOT NULL,
    known       bigint NOT NULL,
    inserted    bigint NOT NULL,
    outside     bigint NOT NULL,
    not_listed  bigint NOT NULL,
    inserted_at timestamptz,
    unread      bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE store.refills IS 'What REST listed over a gap of the trade channel and an hour on both sides.';
COMMENT ON COLUMN store.refills.listed IS 'Trades that REST listed in the window.';
COMMENT ON COLUMN store.refills.known IS 'Of these, trades that a gatherer had recorded: the proof that the list is what was sent.';
COMMENT ON COLUMN store.refills.inserted IS 'Trades that no gatherer had, over all tries.';
COMMENT ON COLUMN store.refills.outside IS 'Of the inserted, those that a gatherer claims to have: contradictions of coverage.';
COMMENT ON COLUMN store.refills.not_listed IS 'Recorded trades of the window that REST did not list; while there is one, the gap is not refilled.';
COMMENT ON COLUMN store.refills.inserted_at IS 'When a try last brought trades that no gatherer had.';
COMMENT ON COLUMN store.refills.unread IS 'Listed trades that cannot be read and that nobody recorded, in the gap or at no known time; while there is one, the gap is not refilled.';

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
COMMENT ON VIEW store.claims IS 'What each gatherer claims of each market and channel, less what it claims no longer.';

CREATE VIEW store.covered AS
SELECT market, channel, range_agg(tstzrange(from_ts, to_ts)) AS held FROM store.claims GROUP BY market, channel;
COMMENT ON VIEW store.covered IS 'The union of the claims of all gatherers.';

CREATE VIEW store.tiled AS
SELECT market, channel, range_agg(tiles) AS tiles
  FROM (SELECT market, channel, tstzrange(from_ts, to_ts) AS tiles FROM store.claims
        UNION ALL
        SELECT market, channel, tstzrange(started_at, ended_at) FROM store.gaps WHERE healed_at IS NULL) t
 GROUP BY market, channel;
COMMENT ON VIEW store.tiled IS 'The union of what is claimed and what is listed as a gap: what it covers is sealed.';

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
COMMENT ON VIEW store.time_lines IS 'The time lines of markets, one for each channel.';

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

-- Up to where the channels that carry all markets are sealed: the archive states of an hour's trades and lifecycle
-- messages whether more may come, as it does of books.
CREATE VIEW store.channel_seals AS
SELECT c.channel,
       CASE WHEN x.market IS NOT NULL THEN coalesce(
           (SELECT upper(r) FROM unnest(x.tiles) r WHERE lower(r) <= l.fleet_started_at AND upper(r) > l.fleet_started_at),
           l.fleet_started_at) END AS sealed_until
  FROM (VALUES ('trade'), ('market_lifecycle_v2'), ('multivariate_market_lifecycle')) c (channel)
 CROSS JOIN store.lease l
  LEFT JOIN store.markets everything ON everything.ticker = ''
  LEFT JOIN store.tiled x ON x.market = everything.market AND x.channel = c.channel;
COMMENT ON VIEW store.channel_seals IS 'Up to where each channel that carries all markets is covered or listed; null: nobody ever held anything of it.';
