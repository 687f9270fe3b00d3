-- Where the time lines of some markets begin and end, as far as that is known.
SELECT m.market, m.first_seen, m.ended_at
  FROM unnest($1::bigint[]) w (market) JOIN store.market_lines m USING (market)
 WHERE m.first_seen IS NOT NULL AND m.ticker <> ''
