-- Books by their place; those from REST, which have none, by when they were given.
SELECT ticker, exchange_ts, after_ordinal, taken_at, source, yes::text AS yes, no::text AS no, verified, is_reset
  FROM orderbook_snapshots WHERE exchange_ts >= $1 AND exchange_ts < $2
UNION ALL
SELECT ticker, exchange_ts, after_ordinal, taken_at, source, yes::text, no::text, verified, is_reset
  FROM store.rest_snapshots WHERE taken_at >= $1 AND taken_at < $2
 ORDER BY ticker, exchange_ts, after_ordinal, is_reset, taken_at
