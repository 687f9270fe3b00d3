-- Whether it is listed already that copies contradict each other in this millisecond.
SELECT EXISTS (SELECT FROM store.conflicts WHERE (kind, market, exchange_ts) = ($1, $2, $3))
