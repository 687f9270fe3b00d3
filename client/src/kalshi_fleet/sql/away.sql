-- Days whose changes are in the archive only.
SELECT day FROM store.detached WHERE day >= $1::date AND day <= $2::date ORDER BY day
