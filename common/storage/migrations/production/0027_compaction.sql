-- Rule 21 in tables: what is over takes a small form. Of a market that ended long ago one row stays: its time line, and what
-- each gatherer held of its book. Its runs go, and slices that no run is left of.

-- Markets whose time lines ended so long ago, and are settled; their runs have all ended. Those of which something is not
-- settled (a contradiction, an unplaced row) stay as they are. Returns how many.
CREATE FUNCTION store.compact_markets(age interval, at_once bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    chosen bigint[];
BEGIN
    chosen := ARRAY(
        SELECT l.market FROM store.lines l
         WHERE l.over AND l.ended_at < now() - age AND l.first_seen IS NOT NULL
           AND NOT EXISTS (SELECT FROM store.runs r WHERE r.market = l.market AND (NOT r.ended OR r.reason = 'conflict'))
           AND NOT EXISTS (SELECT FROM store.run_parts p WHERE p.market = l.market)
           AND NOT EXISTS (SELECT FROM store.unplaced u WHERE u.market = l.market)
         ORDER BY l.market LIMIT at_once);
    INSERT INTO store.held (market, first_seen, ended_at, claims)
    SELECT l.market, l.first_seen, l.ended_at,
           CASE WHEN h.claims IS NOT NULL OR EXISTS (SELECT FROM store.runs r WHERE r.market = l.market)
                THEN coalesce(c.packed, '') END
      FROM store.lines l LEFT JOIN store.held h USING (market)
      LEFT JOIN (SELECT market, store.pack_claims(array_agg(gatherer), array_agg(lower(part)), array_agg(upper(part))) AS packed
                   FROM (SELECT market, gatherer, unnest(range_agg(tstzrange(from_ts, to_ts))) AS part
                           FROM store.claims WHERE market = ANY (chosen) AND channel = 'orderbook_delta'
                          GROUP BY market, gatherer) p
                  GROUP BY market) c USING (market)
     WHERE l.market = ANY (chosen)
     ORDER BY l.market
    ON CONFLICT (market) DO UPDATE
       SET first_seen = excluded.first_seen, ended_at = excluded.ended_at, claims = excluded.claims;
    DELETE FROM store.runs WHERE market = ANY (chosen);
    DELETE FROM store.lines WHERE market = ANY (chosen);
    RETURN cardinality(chosen);
END $$;
COMMENT ON FUNCTION store.compact_markets IS 'One row of each market that ended so long ago, instead of its time line and its runs. What people see stays the same.';

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
