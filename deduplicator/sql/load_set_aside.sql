SELECT kind, key, reason, extract(epoch FROM first_at)::float8 AS first_s, extract(epoch FROM last_at)::float8 AS last_s,
       tries, extract(epoch FROM retry_at)::float8 AS retry_s
  FROM store.set_aside
