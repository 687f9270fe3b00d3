SELECT ticker, channel, started_at, ended_at, reason, book_equal, healed_at FROM coverage_gaps
 ORDER BY started_at DESC, ticker LIMIT 1000
