SELECT u.*, coalesce(r.ended AND NOT r.excluded AND r.cover_to > u.exchange_ts, false) AS followed
  FROM unnest($1::bigint[]) w (market) JOIN store.unplaced u USING (market) LEFT JOIN store.runs r USING (gatherer, lane, run)
 WHERE NOT u.judged
