-- Changes, those of days that left too, as the feed's columns have them.
SELECT market, (extract(epoch FROM exchange_ts) * 1000)::bigint, ordinal, exchange_us, side, price, delta, (extract(epoch FROM received_at) * 1000000)::bigint
  FROM store.deltas
UNION ALL
SELECT market, (extract(epoch FROM exchange_ts) * 1000)::bigint, ordinal, exchange_us, side, price, delta, (extract(epoch FROM received_at) * 1000000)::bigint
  FROM store.late_deltas
