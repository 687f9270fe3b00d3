SELECT step, committed_at, kind, rows, from_ms, to_ms, block FROM store.feed WHERE step BETWEEN $1 AND $2 ORDER BY step
