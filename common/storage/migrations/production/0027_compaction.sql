-- Rule 21 in tables: what is over is kept in a small form. Runs of a market that ended long ago go, and slices that no run
-- is left of.

-- A market's row is written when it is first seen, and again when its line begins, ends, and is over: in its page.
ALTER TABLE store.markets SET (fillfactor = 70);

-- Markets that ended so long ago, and whose runs have all ended: what was claimed of them becomes one row each. Those of
-- which something is not settled (a contradiction, an unplaced row) stay as they are. Returns how many.
CREATE FUNCTION store.compact_markets(age interval, at_once bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    over bigint[];
BEGIN
    over := ARRAY(
        SELECT m.market FROM store.markets m
         WHERE m.market IN (SELECT market FROM store.runs) AND m.ticker <> '' AND m.ended_at < now() - age
           AND NOT EXISTS (SELECT FROM store.runs r WHERE r.market = m.market AND (NOT r.ended OR r.reason = 'conflict'))
           AND NOT EXISTS (SELECT FROM store.run_parts p WHERE p.market = m.market)
           AND NOT EXISTS (SELECT FROM store.unplaced u WHERE u.market = m.market)
         ORDER BY m.market LIMIT at_once);
    INSERT INTO store.held (market, gatherers, from_ms, to_ms)
    SELECT o.market, coalesce(array_agg(c.gatherer ORDER BY c.gatherer, c.part) FILTER (WHERE c.gatherer IS NOT NULL), '{}'),
           coalesce(array_agg((extract(epoch FROM lower(c.part)) * 1000)::bigint ORDER BY c.gatherer, c.part)
                        FILTER (WHERE c.gatherer IS NOT NULL), '{}'),
           coalesce(array_agg((extract(epoch FROM upper(c.part)) * 1000)::bigint ORDER BY c.gatherer, c.part)
                        FILTER (WHERE c.gatherer IS NOT NULL), '{}')
      FROM unnest(over) o (market)
      LEFT JOIN (SELECT market, gatherer, unnest(range_agg(tstzrange(from_ts, to_ts))) AS part
                   FROM store.claims WHERE market = ANY (over) AND channel = 'orderbook_delta'
                  GROUP BY market, gatherer) c USING (market)
     GROUP BY o.market
    ON CONFLICT (market) DO UPDATE
       SET gatherers = excluded.gatherers, from_ms = excluded.from_ms, to_ms = excluded.to_ms;
    DELETE FROM store.runs WHERE market = ANY (over);
    RETURN cardinality(over);
END $$;
COMMENT ON FUNCTION store.compact_markets IS 'One row of what was claimed of each market that ended so long ago, instead of its runs. What people see stays the same.';

-- The last slice of each channel stays: it says that the channel was recorded.
CREATE FUNCTION store.compact_slices(age interval) RETURNS bigint LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM store.slices s
         WHERE s.ended AND coalesce(s.horizon, '-infinity') < now() - age
           AND NOT EXISTS (SELECT FROM store.runs r WHERE (r.gatherer, r.lane, r.slice) = (s.gatherer, s.lane, s.slice))
           AND EXISTS (SELECT FROM store.slices l WHERE l.channel = s.channel AND (l.gatherer, l.lane, l.slice) > (s.gatherer, s.lane, s.slice))
        RETURNING 1
    )
    SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION store.compact_slices IS 'Deletes slices that ended so long ago and that no run is left of.';
