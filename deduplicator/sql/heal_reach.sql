-- From when on a gatherer still has the rows of its batches, and whether some of the time asked for were dropped unread.
SELECT (SELECT min(loaded_at) FROM batches WHERE NOT emptied) AS since,
       EXISTS (SELECT FROM dropped_unread WHERE to_us >= $1 AND from_us <= $2) AS dropped
