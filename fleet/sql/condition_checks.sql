-- Of the hours in a stretch of time: how many are archived, and how often each check of them failed.
SELECT (SELECT count(*) FROM store.exports WHERE hour >= $1 AND hour < $2) AS archived_hours,
       (SELECT coalesce(jsonb_object_agg(check_name, failed), '{}')
          FROM (SELECT check_name, sum(failed) AS failed FROM checks WHERE hour >= $1 AND hour < $2 GROUP BY 1) c) AS failed
