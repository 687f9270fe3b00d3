SELECT exchange_ts, after_ordinal, is_reset, coalesce(yes, '{}') AS yes, coalesce(no, '{}') AS no FROM store.snapshots
 WHERE market = $1 AND exchange_ts >= $2 AND exchange_ts < $3 AND verified IS NOT FALSE
 ORDER BY exchange_ts, after_ordinal, taken_at
