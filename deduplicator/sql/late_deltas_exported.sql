DELETE FROM store.late_deltas WHERE exchange_ts >= $1 AND exchange_ts < $2 AND stored_at <= $3
