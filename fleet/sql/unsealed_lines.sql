SELECT (SELECT count(*) FROM coverage
         WHERE sealed_until <= timestamptz 'epoch' + ($1::bigint / 1000) * interval '1 second' + ($1::bigint % 1000) * interval '1 millisecond'
           AND (ended_at IS NULL OR sealed_until < ended_at))
     + (SELECT count(*) FROM store.reset_votes)
     + (SELECT CASE WHEN count(*) = 0 THEN 1 ELSE 0 END FROM coverage)
