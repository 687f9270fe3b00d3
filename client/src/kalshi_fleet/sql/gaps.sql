SELECT ticker, channel, (extract(epoch FROM started_at) * 1000)::bigint AS started_at,
       (extract(epoch FROM ended_at) * 1000)::bigint AS ended_at, reason, book_equal,
       (extract(epoch FROM healed_at) * 1000000)::bigint AS healed_at
  FROM coverage_gaps
 WHERE ticker = ANY($1::text[]) AND started_at < $3 AND ended_at > $2
 ORDER BY ticker COLLATE "C", channel, 3, 4, reason
