-- What was not recorded of a market
-- An hour lists the gaps that touch it, as of its last export: a gap of several hours stands in each of them.
SELECT channel, started_at, ended_at, reason, max(healed_at) AS healed_at
  FROM coverage_gaps
 WHERE ticker = :ticker AND "date" BETWEEN CAST(CAST(:from AS date) AS varchar) AND CAST(CAST(:to AS date) AS varchar)
   AND started_at < :to AND ended_at > :from
 GROUP BY channel, started_at, ended_at, reason ORDER BY started_at, channel
