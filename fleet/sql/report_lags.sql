-- How long changes took, by who took them in; '' is production.
SELECT coalesce(g.gatherer_id, '') AS name, l.from_ms, sum(l.changes)::bigint AS changes, min(l.least_ms) AS least_ms, max(l.most_ms) AS most_ms
  FROM store.lags l LEFT JOIN store.gatherers g USING (gatherer)
 WHERE l.hour >= $1 AND l.hour < $2
 GROUP BY 1, 2 ORDER BY 1, 2
