-- Contradictions, as the feed's columns have them.
SELECT kind, market, (extract(epoch FROM exchange_ts) * 1000)::bigint, versions::text FROM store.conflicts
