-- More comparisons of an hour, counted in the transaction that stores their rows.
INSERT INTO store.checks (hour, check_name, compared, failed, examples) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (hour, check_name) DO UPDATE
   SET compared = checks.compared + excluded.compared, failed = checks.failed + excluded.failed, checked_at = now(),
       examples = CASE WHEN checks.failed = 0 THEN excluded.examples ELSE checks.examples END
