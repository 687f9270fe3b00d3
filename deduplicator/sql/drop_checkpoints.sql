-- Checkpoints that were folded without what has come since: those behind it, up to the exchange's next own book.
DELETE FROM store.snapshots c
 WHERE c.market = $1 AND c.source = 'checkpoint' AND c.exchange_ts >= $2
   AND NOT EXISTS (SELECT FROM store.snapshots s
                    WHERE s.market = $1 AND s.source <> 'checkpoint' AND s.verified IS NOT FALSE
                      AND s.exchange_ts >= $3 AND s.exchange_ts <= c.exchange_ts)
