-- name: ends
-- The oldest step that is kept, and the last one that there is.
SELECT (SELECT min(step) FROM store.feed) AS oldest, (SELECT step FROM store.lease) AS newest

-- name: read
-- The steps from a place on, the place itself without its block: so many, and only so many bytes of blocks, but one at least.
SELECT step, committed_at, kind, rows, from_ms, to_ms, CASE WHEN step > $1 THEN block END AS block
  FROM (SELECT f.*, sum(CASE WHEN step > $1 THEN coalesce(octet_length(block), 0) ELSE 0 END) OVER (ORDER BY step) AS size,
               coalesce(octet_length(block), 0) AS own
          FROM (SELECT * FROM store.feed WHERE step >= $1 ORDER BY step LIMIT $2) f) s
 WHERE size <= $3 OR size = own OR step <= $1 + 1
 ORDER BY step

-- name: first_since
-- The place before the first step that was committed at a time or later, of those that are kept.
SELECT coalesce((SELECT min(step) - 1 FROM store.feed WHERE committed_at >= $1), (SELECT step FROM store.lease)) AS place

-- name: archived_from
-- The first object of the archive with this step or later ones.
SELECT object FROM store.feed_hours WHERE archived_at IS NOT NULL AND last_step >= $1 ORDER BY hour LIMIT 1

-- name: archived_since
-- The object of the archive with what was committed at a time, or first after it.
SELECT object FROM store.feed_hours WHERE archived_at IS NOT NULL AND hour + interval '1 hour' > $1 ORDER BY hour LIMIT 1

-- name: tickers
-- The tickers of markets, by production's numbers.
SELECT market, ticker FROM store.markets WHERE market = ANY ($1::bigint[])
