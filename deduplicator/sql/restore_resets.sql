SELECT market, exchange_ts, after_ordinal, taken_at, coalesce(yes, '{}') AS yes, coalesce(no, '{}') AS no
  FROM store.snapshots WHERE is_reset AND taken_at > now() - interval '1 day'
