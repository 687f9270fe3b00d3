-- Markets whose last change of a day has no book at or behind it: once the day is gone, nothing could be folded from.
SELECT d.market
  FROM (SELECT DISTINCT ON (market) market, exchange_ts, ordinal FROM store.deltas
         WHERE exchange_ts >= $1 AND exchange_ts < $2
         ORDER BY market, exchange_ts DESC, ordinal DESC) d
 WHERE NOT EXISTS (SELECT FROM store.snapshots s
                    WHERE s.market = d.market AND s.verified IS NOT FALSE AND NOT s.is_reset
                      AND (s.exchange_ts, s.after_ordinal) >= (d.exchange_ts, d.ordinal))
