-- Everything before this moment was acknowledged by every consumer of every lane, and is older than it must be kept.
-- Whole chunks ($2; hours), as the large tables are dropped by them. Of the unread batches it is the earliest moment that
-- counts, not that of the first one: a clock may have been back when a later one was stored.
SELECT date_bin($2::interval, least(now() - $1::interval,
                                min((SELECT min(b.loaded_at) FROM batches b
                                      WHERE b.lane = a.lane AND b.batch > a.batch AND b.loaded_at < now() - $1::interval))),
                'epoch'::timestamptz)
  FROM acknowledged a
