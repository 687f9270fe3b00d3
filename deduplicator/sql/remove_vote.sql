DELETE FROM store.reset_votes
 WHERE market = $1 AND gatherer = $2 AND exchange_ts = $3 AND after_ordinal = $4 AND taken_at = $5
