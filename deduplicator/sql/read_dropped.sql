-- The few stretches of a lane whose rows had to go before they were read.
SELECT from_batch, to_batch FROM dropped_unread WHERE lane = $1 AND to_batch > $2
