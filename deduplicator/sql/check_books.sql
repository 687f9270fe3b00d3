-- Books of an hour whose places are known, by all gatherers. A reset that was seen in the hour, after a quiet stretch that
-- began before it, is a book of its beginning.
SELECT m.market, m.ticker, s.exchange_ts, s.after_ordinal, s.taken_at, s.is_reset, coalesce(s.yes, '{}') AS yes, coalesce(s.no, '{}') AS no
  FROM store.snapshots s JOIN store.markets m USING (market)
 WHERE s.exchange_ts >= $1 AND s.exchange_ts < $2 AND s.verified IS NOT FALSE
UNION ALL
SELECT m.market, m.ticker, $1::timestamptz - interval '1 millisecond', 2147483647, s.taken_at, true, coalesce(s.yes, '{}'), coalesce(s.no, '{}')
  FROM store.snapshots s JOIN store.markets m USING (market)
 WHERE s.is_reset AND s.verified IS NOT FALSE AND s.taken_at >= $1 AND s.taken_at < $2 AND s.exchange_ts < $1
   AND NOT store.changed_between(s.market, s.exchange_ts, s.after_ordinal, $1::timestamptz - interval '1 millisecond', 2147483647)
 ORDER BY market, exchange_ts, after_ordinal, taken_at
