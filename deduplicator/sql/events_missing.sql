-- Events that markets of the last day name and that no list has shown, without combos'.
SELECT DISTINCT m.event_ticker FROM markets m
 WHERE m.updated_at > now() - interval '1 day' AND m.event_ticker <> '' AND m.event_ticker NOT LIKE 'KXMVE%'
   AND NOT EXISTS (SELECT FROM events e WHERE e.ticker = m.event_ticker)
 LIMIT $1
