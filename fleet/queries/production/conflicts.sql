-- What contradicts the promise
-- Ought to be empty; each row is counted, alerted and explained in [architecture/merge.md](architecture/merge.md).
SELECT kind, ticker, exchange_ts, versions FROM merge_conflicts ORDER BY seen_at DESC LIMIT 20
