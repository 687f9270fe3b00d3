-- Books by their place; those from REST, which have none, by when they were given. A reset that was seen in the hour, but
-- whose place is before it (the market had been quiet), comes as the book that it leaves at the hour's beginning: so that
-- the hour can be replayed alone.
SELECT ticker, exchange_ts, after_ordinal, taken_at, source, yes::text AS yes, no::text AS no, verified, is_reset
  FROM orderbook_snapshots WHERE exchange_ts >= $1 AND exchange_ts < $2
UNION ALL
SELECT m.ticker, $1::timestamptz - interval '1 millisecond', 2147483647, r.taken_at, 'checkpoint',
       store.levels(b.yes)::text, store.levels(b.no)::text, r.verified, true
  FROM store.snapshots r JOIN store.markets m USING (market),
       LATERAL (SELECT coalesce(array_agg(v ORDER BY price DESC, n) FILTER (WHERE side = 0), '{}') AS yes,
                       coalesce(array_agg(v ORDER BY price DESC, n) FILTER (WHERE side = 1), '{}') AS no
                  FROM store.fold_from(r.market, r.exchange_ts, r.after_ordinal, r.yes, r.no, $1) f,
                       LATERAL (VALUES (1, f.price::bigint), (2, f.size)) level (n, v)) b
 WHERE r.is_reset AND r.verified IS NOT FALSE AND r.taken_at >= $1 AND r.taken_at < $2 AND r.exchange_ts < $1
UNION ALL
SELECT ticker, exchange_ts, after_ordinal, taken_at, source, yes::text, no::text, verified, is_reset
  FROM store.rest_snapshots WHERE taken_at >= $1 AND taken_at < $2
 ORDER BY ticker, exchange_ts, after_ordinal, is_reset, taken_at, source, yes, no, verified
