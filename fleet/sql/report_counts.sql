-- What else there is to say of a stretch of time.
SELECT (SELECT coalesce(sum(delta_rows), 0) FROM store.exports WHERE hour >= $1 AND hour < $2)::bigint AS changes_archived,
       (SELECT count(*) FROM store.trades WHERE exchange_ts >= $1 AND exchange_ts < $2) AS trades,
       (SELECT count(*) FROM store.trades WHERE exchange_ts >= $1 AND exchange_ts < $2 AND source = 'rest') AS trades_from_rest,
       (SELECT count(*) FROM store.unplaced WHERE exchange_ts >= $1 AND exchange_ts < $2) AS unplaced,
       (SELECT count(*) FROM store.conflicts WHERE exchange_ts >= $1 AND exchange_ts < $2) AS conflicts,
       (SELECT count(*) FROM store.quarantine WHERE received_at >= $1 AND received_at < $2) AS quarantined,
       (SELECT count(*) FROM store.exports WHERE hour >= $1 AND hour < $2) AS hours_archived,
       (SELECT count(*) FROM store.exports WHERE hour >= $1 AND hour < $2 AND NOT complete) AS hours_with_unsealed
