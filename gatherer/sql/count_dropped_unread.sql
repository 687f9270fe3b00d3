SELECT coalesce(sum(to_batch - from_batch + 1), 0) FROM dropped_unread
