SELECT u.*, coalesce(r.ended AND r.cover_to > u.exchange_ts, false) AS followed
  FROM store.unplaced u LEFT JOIN store.runs r USING (gatherer, lane, run)
