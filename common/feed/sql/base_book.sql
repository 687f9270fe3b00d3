-- The book that a market's changes are folded onto, as store.fold chooses it for a moment after all of them.
SELECT exchange_ts, after_ordinal, is_reset, yes, no
  FROM store.snapshots s
 WHERE market = $1 AND verified IS NOT FALSE
 ORDER BY exchange_ts DESC, after_ordinal DESC, is_reset DESC, source = 'checkpoint'
 LIMIT 1
