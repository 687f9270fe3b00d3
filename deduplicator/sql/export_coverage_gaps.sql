SELECT ticker, channel, started_at, ended_at, reason, book_equal, healed_at
  FROM coverage_gaps WHERE started_at < $2 AND ended_at > $1
 ORDER BY ticker, channel, started_at, ended_at, healed_at, reason
