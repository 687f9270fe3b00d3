INSERT INTO store.runs (gatherer, lane, run, slice, market, cover_from, cover_to, ended, excluded, reason, fixed)
SELECT g, l, r, s, m, f, t, t IS NOT NULL, x, w, z
  FROM unnest($1::smallint[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::timestamptz[],
              $7::timestamptz[], $8::boolean[], $9::text[], $10::boolean[]) y (g, l, r, s, m, f, t, x, w, z)
ON CONFLICT (gatherer, lane, run) DO UPDATE
   SET cover_from = excluded.cover_from, cover_to = excluded.cover_to, ended = excluded.ended,
       excluded = excluded.excluded, reason = excluded.reason, fixed = excluded.fixed
