-- Last changes of a day at which no book stands: it will be the base of what comes after the day, and say that changes were
-- there. A book from the exchange does, unless a reset of the same place tells that it may have been taken later.
SELECT d.market, d.exchange_ts, d.ordinal
  FROM (SELECT DISTINCT ON (market) market, exchange_ts, ordinal FROM store.deltas
         WHERE exchange_ts >= $1 AND exchange_ts < $2
         ORDER BY market, exchange_ts DESC, ordinal DESC) d
 WHERE NOT EXISTS (SELECT FROM store.snapshots s
                    WHERE s.market = d.market AND s.exchange_ts = d.exchange_ts AND s.after_ordinal = d.ordinal AND NOT s.is_reset
                      AND (s.source = 'checkpoint'
                           OR (s.verified IS NOT FALSE
                               AND NOT EXISTS (SELECT FROM store.snapshots r
                                                WHERE r.market = d.market AND r.is_reset AND r.exchange_ts >= d.exchange_ts))))
