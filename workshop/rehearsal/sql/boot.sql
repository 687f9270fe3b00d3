-- name: next_release
-- The migration that the next release has.
CREATE TABLE rehearsed (once boolean);
COMMENT ON TABLE rehearsed IS 'Of the next release.';

-- name: next_release_is_there
-- The table of the next release's migration, null if there is none.
SELECT to_regclass('rehearsed')

-- name: extension
-- TimescaleDB's release in the database; no row if it has none.
SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'

-- name: password_hash
-- The hash of the deduplicator's password.
SELECT rolpassword FROM pg_authid WHERE rolname = 'deduplicator'

-- name: newest_received
-- When the last batch of a gatherer was received.
SELECT max(received_us) FROM batches

-- name: instance
-- The instance of a gatherer's database.
SELECT instance FROM instance

-- name: lanes_with_holes
-- Lanes of a gatherer whose batches do not follow each other, or of which some left unread. Hours that were read leave
-- from the beginning: a run of more than an hour does not begin with batch 1.
SELECT lane FROM batches GROUP BY lane HAVING max(batch) - min(batch) + 1 <> count(*)
UNION SELECT lane FROM dropped_unread

-- name: changes_recorded
-- Changes of a stretch of exchange time that a gatherer has.
SELECT ticker, exchange_ms, side, price, delta FROM deltas JOIN markets USING (market)
 WHERE exchange_ms >= $1 AND exchange_ms < $2

-- name: first_seen
-- When each market's time line begins, by channel.
SELECT ticker, channel, min(first_seen) AS at FROM coverage GROUP BY 1, 2

-- name: changes_before
-- Changes before a moment.
SELECT ticker, exchange_ts, ordinal FROM orderbook_deltas WHERE exchange_ts < $1

-- name: trades_before
-- Trades before a moment.
SELECT trade_id FROM trades WHERE exchange_ts < $1
