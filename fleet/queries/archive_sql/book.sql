-- The book at a moment
-- From the hour's opening book, or the last snapshot before the moment, and the changes after it. Of snapshots that no
-- change lies between a reset replaces those that were taken before it, wherever their places are.
WITH changes AS (
    SELECT exchange_ts, ordinal, side, price, delta
      FROM orderbook_deltas
     WHERE ticker = :ticker AND "date" = CAST(CAST(:at AS date) AS varchar) AND "hour" = hour(:at) AND exchange_ts <= :at
), places AS (
    SELECT exchange_ts, ordinal, 1 AS change, CAST(NULL AS timestamp(6)) AS taken_at, false AS is_reset, false AS is_folded,
           CAST(NULL AS varchar) AS yes, CAST(NULL AS varchar) AS no
      FROM changes
    UNION ALL
    SELECT s.exchange_ts, s.after_ordinal, 0, s.taken_at, s.is_reset, s.source = 'checkpoint', s.yes, s.no
      FROM orderbook_snapshots s
     WHERE s.ticker = :ticker AND s."date" = CAST(CAST(:at AS date) AS varchar) AND s."hour" = hour(:at)
       AND s.exchange_ts <= :at AND coalesce(s.verified, true)
), counted AS (
    SELECT p.*, sum(p.change) OVER (ORDER BY p.exchange_ts, p.ordinal, p.change DESC
                                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS changes_before
      FROM places p
), books AS (
    SELECT c.*, c.taken_at <= :at OR c.changes_before < (SELECT count(*) FROM changes) AS applies
      FROM counted c WHERE c.change = 0
), base AS (
    SELECT s.exchange_ts, s.ordinal AS after_ordinal, s.yes, s.no
      FROM books s
     WHERE (s.applies OR NOT s.is_reset)
       AND NOT EXISTS (SELECT 1 FROM books r
                        WHERE r.is_reset AND r.changes_before = s.changes_before
                          AND ((r.applies AND (r.taken_at > s.taken_at OR (r.taken_at = s.taken_at AND NOT s.is_reset)))
                               OR (NOT r.applies AND NOT s.is_reset AND r.taken_at <= s.taken_at)))
     ORDER BY s.exchange_ts DESC, s.ordinal DESC, s.is_reset DESC, s.is_folded
     LIMIT 1
), parts AS (
    SELECT 'yes' AS side, y.level[1] AS price, y.level[2] AS size
      FROM base CROSS JOIN UNNEST(CAST(json_parse(base.yes) AS array(array(decimal(18, 4))))) AS y (level)
    UNION ALL
    SELECT 'no', n.level[1], n.level[2]
      FROM base CROSS JOIN UNNEST(CAST(json_parse(base.no) AS array(array(decimal(18, 4))))) AS n (level)
    UNION ALL
    SELECT o.side, o.price, o.size
      FROM orderbook_openings o
     WHERE o.ticker = :ticker AND o."date" = CAST(CAST(:at AS date) AS varchar) AND o."hour" = hour(:at)
       AND NOT EXISTS (SELECT 1 FROM base)
    UNION ALL
    SELECT c.side, c.price, c.delta
      FROM changes c LEFT JOIN base b ON 1 = 1
     WHERE b.exchange_ts IS NULL OR c.exchange_ts > b.exchange_ts
        OR (c.exchange_ts = b.exchange_ts AND c.ordinal > b.after_ordinal)
)
SELECT side, CAST(price AS decimal(9, 4)) AS price, CAST(sum(size) AS decimal(18, 2)) AS size
  FROM parts GROUP BY side, price HAVING sum(size) <> 0 ORDER BY side DESC, price DESC
