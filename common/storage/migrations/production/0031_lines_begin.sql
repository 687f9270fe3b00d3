-- As in 0021; with it: a market whose beginning was not known showed no gap at all. Once it is known, all gaps within its line
-- are shown, of its own and of the channels that carry all.
CREATE OR REPLACE FUNCTION store.touch_by_lines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM store.touch(ARRAY(
        WITH changed AS MATERIALIZED (
            SELECT o.market, o.first_seen IS NULL AS begins,
                   coalesce(o.first_seen, o.seen_at) AS old_first, coalesce(n.first_seen, n.seen_at) AS new_first,
                   coalesce(o.ended_at, 'infinity') AS old_end, coalesce(n.ended_at, 'infinity') AS new_end
              FROM old_rows o JOIN new_rows n USING (market)
             WHERE (o.first_seen, o.ended_at) IS DISTINCT FROM (n.first_seen, n.ended_at)
        ), stretches AS (
            SELECT market, least(old_first, new_first) AS cut, greatest(old_first, new_first) AS whole FROM changed
            UNION ALL
            SELECT market, least(old_end, new_end), greatest(old_end, new_end) FROM changed
            UNION ALL
            SELECT market, new_first, new_end FROM changed WHERE begins
        )
        SELECT h FROM stretches s, store.gaps g, store.hours_within(greatest(g.started_at, s.cut), least(g.ended_at, s.whole)) h
         WHERE g.ended_at > s.cut AND g.started_at < s.whole
           AND g.market IN (s.market, (SELECT market FROM store.markets WHERE ticker = ''))
        UNION
        SELECT h FROM stretches s
         CROSS JOIN LATERAL (SELECT min(c.from_ts) FROM store.claims c
                              WHERE c.market = s.market AND c.channel = 'orderbook_delta' AND c.to_ts > s.cut) tile (begin)
         CROSS JOIN LATERAL store.hours_within(s.cut, least(tile.begin, s.whole)) h
         WHERE tile.begin > s.cut AND s.whole > s.cut
        UNION
        SELECT t.hour FROM changed JOIN store.hours_touched t ON t.hour >= least(old_end, new_end) AND t.hour < greatest(old_end, new_end)
         WHERE t.hour < clock_timestamp() - interval '50 minutes'
    ));
    RETURN NULL;
END $$;
