INSERT INTO store.checks (hour, check_name, compared, failed, examples, checked_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (hour, check_name) DO UPDATE SET compared = excluded.compared, failed = excluded.failed,
                                             examples = excluded.examples, checked_at = excluded.checked_at
