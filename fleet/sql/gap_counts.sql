SELECT channel, reason, count(*) AS gaps FROM coverage_gaps WHERE healed_at IS NULL AND started_at <= $1 GROUP BY channel, reason
