-- Everything before this moment was acknowledged by every consumer of every lane, and is older than it must be kept.
-- Whole chunks ($2; hours), as the large tables are dropped by them.
SELECT date_bin($2::interval, least(now() - $1::interval,
                                min(coalesce((SELECT b.loaded_at FROM batches b
                                               WHERE b.lane = a.lane AND b.batch > a.batch
                                               ORDER BY b.batch LIMIT 1), now()))), 'epoch'::timestamptz)
  FROM acknowledged a
