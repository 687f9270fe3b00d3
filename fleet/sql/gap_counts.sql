SELECT channel, reason, count(*) AS gaps FROM coverage_gaps WHERE healed_at IS NULL GROUP BY channel, reason
