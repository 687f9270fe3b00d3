-- Of a market, a channel, for a reason, ending later than a time, open ones only; without a reason no beginnings.
SELECT ticker, channel, started_at, ended_at, reason, book_equal, healed_at FROM coverage_gaps
 WHERE ($1::text IS NULL OR ticker = $1) AND ($2::text IS NULL OR channel = $2)
   AND coalesce(reason = $3, reason <> 'before_subscription') AND ($4::timestamptz IS NULL OR ended_at > $4)
   AND (NOT $5::boolean OR healed_at IS NULL)
 ORDER BY started_at DESC, ticker, channel LIMIT $6
