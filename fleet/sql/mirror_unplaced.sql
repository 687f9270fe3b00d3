-- Rows without a place, as the feed's columns have them.
SELECT gatherer, session, sid, seq, lane, run, market, (extract(epoch FROM exchange_ts) * 1000)::bigint, exchange_us, side, price,
       delta, (extract(epoch FROM received_at) * 1000000)::bigint FROM store.unplaced
