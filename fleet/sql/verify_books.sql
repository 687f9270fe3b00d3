SELECT exchange_ts, after_ordinal, taken_at, is_reset, coalesce(yes, '{}') AS yes, coalesce(no, '{}') AS no FROM store.snapshots
 WHERE market = $1 AND verified IS NOT FALSE
   AND ((exchange_ts >= $2 AND exchange_ts < $3) OR (is_reset AND taken_at >= $2 AND taken_at < $3))
 ORDER BY exchange_ts, after_ordinal, taken_at
