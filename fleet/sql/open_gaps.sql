SELECT ticker, channel, started_at, ended_at, reason FROM coverage_gaps WHERE healed_at IS NULL
