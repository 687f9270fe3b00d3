SELECT ticker, exchange_ts, after_ordinal, taken_at, source, yes::text AS yes, no::text AS no, verified, is_reset
  FROM orderbook_snapshots WHERE exchange_ts >= $1 AND exchange_ts < $2
 ORDER BY ticker, exchange_ts, after_ordinal, is_reset
