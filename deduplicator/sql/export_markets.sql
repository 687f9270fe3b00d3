SELECT ticker, event_ticker, market_type, title, status, result, open_time, close_time, settlement_ts, updated_at, raw::text AS raw
  FROM markets ORDER BY ticker
