INSERT INTO store.set_aside (kind, key, reason, first_at, last_at, tries, retry_at)
SELECT kind, key, reason, to_timestamp(first_s), to_timestamp(last_s), tries, to_timestamp(retry_s)
  FROM unnest($1::text[], $2::text[], $3::text[], $4::float8[], $5::float8[], $6::int[], $7::float8[])
       x (kind, key, reason, first_s, last_s, tries, retry_s)
ON CONFLICT (kind, key) DO UPDATE
   SET (reason, first_at, last_at, tries, retry_at)
     = (excluded.reason, excluded.first_at, excluded.last_at, excluded.tries, excluded.retry_at)
