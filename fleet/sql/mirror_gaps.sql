-- Gaps that no copy has healed, as the feed's columns have them.
SELECT market, channel, (extract(epoch FROM started_at) * 1000)::bigint, (extract(epoch FROM ended_at) * 1000)::bigint, reason, refilled_at IS NOT NULL
  FROM store.gaps WHERE healed_at IS NULL
