-- Time lines that have stood still: neither covered nor listed since.
SELECT ticker, channel, sealed_until FROM coverage
 WHERE sealed_until < now() - $1::interval AND (ended_at IS NULL OR sealed_until < ended_at)
 ORDER BY sealed_until
