-- Of the listed trades those that were recorded, and of the recorded ones those that were not listed.
SELECT (SELECT count(*) FROM pg_temp.rest_trades r WHERE EXISTS (
            SELECT FROM store.trades t WHERE t.trade_id = r.trade_id AND t.source = 'ws'
               AND t.exchange_ts BETWEEN r.exchange_ts - interval '1 day' AND r.exchange_ts + interval '1 day')) AS known,
       (SELECT count(*) FROM store.trades t WHERE t.source = 'ws' AND t.exchange_ts >= $1 AND t.exchange_ts < $2
           AND NOT EXISTS (SELECT FROM pg_temp.rest_trades r WHERE r.trade_id = t.trade_id)) AS not_listed
