SELECT gatherer, lane, run, cover_from, cover_to FROM store.runs WHERE market = $1 AND reason = 'conflict'
