SELECT DISTINCT market, ticker FROM store.late_deltas JOIN store.markets USING (market)
 WHERE exchange_ts >= $1 AND exchange_ts < $2
