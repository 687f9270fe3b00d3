-- Of each market: up to where the channel is complete or listed; null after its end, when nothing comes any more.
SELECT ticker, CASE WHEN ended_at IS NULL OR sealed_until < ended_at THEN sealed_until END AS sealed_until
  FROM coverage WHERE ticker = ANY($1::text[]) AND channel = $2
