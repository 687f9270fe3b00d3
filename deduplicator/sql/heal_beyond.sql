-- Runs of a market that have changes behind the stretch: those were not looked at.
SELECT DISTINCT d.lane, d.run FROM deltas d
 WHERE d.market = (SELECT market FROM markets WHERE ticker = $1) AND d.exchange_ms >= $2 AND d.stored_at >= $3
