-- The last gap before a moment of a market's book, if no book of the exchange is known between the two.
SELECT g.started_at, g.ended_at, g.reason FROM coverage_gaps g
 WHERE g.ticker = $1 AND g.channel = 'orderbook_delta' AND g.healed_at IS NULL AND g.started_at <= $2
   AND g.reason <> 'before_subscription'
   AND NOT EXISTS (SELECT FROM orderbook_snapshots s
                    WHERE s.ticker = $1 AND s.exchange_ts >= g.ended_at AND s.exchange_ts <= $2 AND s.source = 'ws')
 ORDER BY g.started_at DESC LIMIT 1
