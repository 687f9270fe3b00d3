-- Which gatherers recorded a market's book, and when
SELECT gatherer_id, held FROM coverage_by_gatherer WHERE ticker = :ticker AND channel = 'orderbook_delta'
