-- Checkpoints that were folded without what has come since: those after it, up to the exchange's next own book.
DELETE FROM store.snapshots c
 USING unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[]) x (market, from_ts, to_ts)
 WHERE c.market = x.market AND c.source = 'checkpoint' AND c.exchange_ts >= x.from_ts
   AND NOT EXISTS (SELECT FROM store.snapshots s
                    WHERE s.market = x.market AND s.source <> 'checkpoint' AND s.verified IS NOT FALSE
                      AND s.exchange_ts >= x.to_ts AND s.exchange_ts <= c.exchange_ts)
