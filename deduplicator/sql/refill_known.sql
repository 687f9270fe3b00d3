-- Of the listed trades those that were recorded, and of the recorded ones those that were not listed. Of the listed ones
-- that cannot be read, those that nobody recorded and that may be in the gap ($3 to $4).
SELECT (SELECT count(*) FROM pg_temp.rest_trades r WHERE EXISTS (
            SELECT FROM store.trades t WHERE t.trade_id = r.trade_id AND t.source = 'ws'
               AND t.exchange_ts BETWEEN r.exchange_ts - interval '1 day' AND r.exchange_ts + interval '1 day')) AS known,
       (SELECT count(*) FROM store.trades t WHERE t.source = 'ws' AND t.exchange_ts >= $1 AND t.exchange_ts < $2
           AND NOT EXISTS (SELECT FROM pg_temp.rest_trades r WHERE r.trade_id = t.trade_id)
           AND NOT EXISTS (SELECT FROM pg_temp.rest_unread u WHERE u.trade_id = t.trade_id)) AS not_listed,
       (SELECT count(*) FROM pg_temp.rest_unread u
         WHERE (u.exchange_ts IS NULL OR (u.exchange_ts >= $3 AND u.exchange_ts < $4))
           AND NOT EXISTS (SELECT FROM store.trades t WHERE t.trade_id = u.trade_id
                              AND t.exchange_ts >= $1::timestamptz - interval '1 day'
                              AND t.exchange_ts < $2::timestamptz + interval '1 day')) AS unread
