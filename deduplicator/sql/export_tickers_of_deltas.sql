-- Markets with changes between two midnights, each found by one look into the unique index.
WITH RECURSIVE found AS (
    (SELECT market FROM store.deltas WHERE exchange_ts >= $1 AND exchange_ts < $2 ORDER BY market LIMIT 1)
    UNION ALL
    SELECT (SELECT d.market FROM store.deltas d
             WHERE d.market > f.market AND d.exchange_ts >= $1 AND d.exchange_ts < $2 ORDER BY d.market LIMIT 1)
      FROM found f WHERE f.market IS NOT NULL
)
SELECT f.market, m.ticker FROM found f JOIN store.markets m USING (market)
