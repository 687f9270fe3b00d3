SELECT store.touch(ARRAY(
    SELECT DISTINCT h FROM unnest($1::timestamptz[], $2::timestamptz[]) s (from_ts, to_ts), store.hours_within(s.from_ts, s.to_ts) h))
