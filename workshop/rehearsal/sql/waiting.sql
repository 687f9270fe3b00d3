-- name: unsealed_lines
-- How many time lines are not sealed past a moment ($1, ms), and how many votes on resets are open; 1 if there is no line.
SELECT (SELECT count(*) FROM coverage
         WHERE sealed_until <= timestamptz 'epoch' + ($1::bigint / 1000) * interval '1 second' + ($1::bigint % 1000) * interval '1 millisecond'
           AND (ended_at IS NULL OR sealed_until < ended_at))
     + (SELECT count(*) FROM store.reset_votes)
     + (SELECT CASE WHEN count(*) = 0 THEN 1 ELSE 0 END FROM coverage)

-- name: untried_refills
-- Gaps of the trade channel that began before a moment ($1, ms) and for which REST was not asked yet.
SELECT count(*) FROM store.gaps g LEFT JOIN store.refills r USING (gap)
 WHERE g.channel = 'trade' AND g.healed_at IS NULL AND g.refilled_at IS NULL AND r.gap IS NULL
   AND g.started_at <= timestamptz 'epoch' + ($1::bigint / 1000) * interval '1 second' + ($1::bigint % 1000) * interval '1 millisecond'

-- name: drop_clients
-- Cut every connection but this one.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
