INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, had)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::jsonb[])
