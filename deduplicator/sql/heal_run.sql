UPDATE store.runs
   SET cover_to = $4, ended = $4::timestamptz IS NOT NULL, excluded = excluded AND $5 = 'conflict', reason = $5
 WHERE gatherer = $1 AND lane = $2 AND run = $3 AND reason = 'conflict'
