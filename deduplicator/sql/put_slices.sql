INSERT INTO store.slices (gatherer, lane, slice, session, sid, channel, horizon, ended, reason)
SELECT * FROM unnest($1::smallint[], $2::smallint[], $3::bigint[], $4::bigint[], $5::int[], $6::text[], $7::timestamptz[],
                     $8::boolean[], $9::text[])
ON CONFLICT (gatherer, lane, slice) DO UPDATE
   SET horizon = excluded.horizon, ended = excluded.ended, reason = excluded.reason
