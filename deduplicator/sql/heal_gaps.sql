SELECT started_at, ended_at, reason, had FROM store.gaps
 WHERE market = $1 AND channel = 'orderbook_delta' AND healed_at IS NULL AND reason <> 'step_back'
   AND started_at < $3 AND ended_at > $2
