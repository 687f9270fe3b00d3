-- Books of an hour whose places are known, whoever gave them.
SELECT m.market, m.ticker, s.exchange_ts, s.after_ordinal, s.is_reset, coalesce(s.yes, '{}') AS yes, coalesce(s.no, '{}') AS no
  FROM store.snapshots s JOIN store.markets m USING (market)
 WHERE s.exchange_ts >= $1 AND s.exchange_ts < $2 AND s.verified IS NOT FALSE
 ORDER BY s.market, s.exchange_ts, s.after_ordinal, s.taken_at
