-- Books of known places, without those that are folded here, as the feed's columns have them.
SELECT market, (extract(epoch FROM exchange_ts) * 1000)::bigint, after_ordinal, is_reset, (extract(epoch FROM taken_at) * 1000000)::bigint,
       coalesce(yes, '{}'), coalesce(no, '{}'), verified
  FROM store.snapshots WHERE source <> 'checkpoint'
