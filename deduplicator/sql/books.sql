-- name: add_books
-- Store books. Of a place that is known the first book stands; one that confirms it verifies it.
INSERT INTO store.snapshots (market, exchange_ts, after_ordinal, is_reset, taken_at, source, yes, no, verified)
SELECT DISTINCT ON (market, exchange_ts, after_ordinal, is_reset)
       market, exchange_ts, after_ordinal, is_reset, taken_at, 'ws', nullif(yes::bigint[], '{}'), nullif(no::bigint[], '{}'),
       verified OR (verified IS NULL AND bool_or(verified) OVER same) AS verified
  FROM unnest($1::bigint[], $2::timestamptz[], $3::int[], $4::boolean[], $5::timestamptz[], $6::text[], $7::text[], $8::boolean[])
       WITH ORDINALITY x (market, exchange_ts, after_ordinal, is_reset, taken_at, yes, no, verified, n)
WINDOW same AS (PARTITION BY market, exchange_ts, after_ordinal, is_reset, yes, no)
 ORDER BY market, exchange_ts, after_ordinal, is_reset, n
ON CONFLICT (market, exchange_ts, after_ordinal, is_reset, (source = 'checkpoint')) DO UPDATE
   SET verified = true WHERE excluded.verified AND store.snapshots.verified IS NULL
                         AND (store.snapshots.yes, store.snapshots.no) IS NOT DISTINCT FROM (excluded.yes, excluded.no)
RETURNING market, exchange_ts, after_ordinal, is_reset, taken_at, yes, no, verified

-- name: unverify_reset
-- Mark a reset as refuted.
UPDATE store.snapshots SET verified = false WHERE market = $1 AND exchange_ts = $2 AND after_ordinal = $3 AND is_reset
RETURNING market, exchange_ts, after_ordinal, is_reset, taken_at, yes, no, verified

-- name: add_vote
-- Store what a gatherer's snapshot shows of a possible reset.
INSERT INTO store.reset_votes (market, gatherer, exchange_ts, after_ordinal, taken_at, yes, no)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING

-- name: remove_vote
-- Remove a vote on a reset that is decided.
DELETE FROM store.reset_votes
 WHERE market = $1 AND gatherer = $2 AND exchange_ts = $3 AND after_ordinal = $4 AND taken_at = $5

-- name: drop_checkpoints
-- Drop checkpoints that were folded without what is now before them.
SELECT store.drop_checkpoints($1, $2, $3, $4, $5)

-- name: checkpoint
-- Write a market's folded book after the last change before a time, unless a usable one is there; returns how many.
SELECT store.checkpoint($1, $2)

-- name: newest_checkpoint
-- The exchange time of the last checkpoint.
SELECT max(exchange_ts) FROM store.snapshots WHERE source = 'checkpoint'

-- name: add_rest_book
-- Store a book that REST gave, once, also if it is read again.
INSERT INTO store.rest_books (market, gatherer, requested_at, taken_at, agrees, yes, no)
SELECT $1::bigint, $2::smallint, $3::timestamptz, $4::timestamptz, $5::smallint, $6, $7
 WHERE NOT EXISTS (SELECT FROM store.rest_books r
                    WHERE (r.market, r.gatherer, r.requested_at, r.taken_at) = ($1, $2, $3, $4))

-- name: count_checks
-- Count more comparisons of an hour, in the transaction that stores their rows.
INSERT INTO store.checks (hour, check_name, compared, failed, examples) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (hour, check_name) DO UPDATE
   SET compared = checks.compared + excluded.compared, failed = checks.failed + excluded.failed, checked_at = now(),
       examples = CASE WHEN checks.failed = 0 THEN excluded.examples ELSE checks.examples END
