INSERT INTO store.rest_candles (ticker, period_minutes, end_ts, open, high, low, close, volume, open_interest)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (ticker, period_minutes, end_ts) DO UPDATE
   SET (open, high, low, close, volume, open_interest, fetched_at)
     = (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume, excluded.open_interest, now())
