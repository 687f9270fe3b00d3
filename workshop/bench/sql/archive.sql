-- name: count_changes
-- Of DuckDB: how many changes a market has, whose ticker is put in for {}.
SELECT count(*) AS n FROM orderbook_deltas WHERE ticker = '{}'
