SELECT ticker, series_ticker, title, sub_title, strike_date, strike_period, updated_at, raw::text AS raw FROM events ORDER BY ticker
