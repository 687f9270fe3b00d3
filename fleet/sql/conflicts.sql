SELECT ticker, exchange_ts FROM merge_conflicts WHERE kind = 'conflict' AND exchange_ts IS NOT NULL
