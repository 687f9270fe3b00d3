SELECT store.checkpoint_at(p.market, p.exchange_ts, p.ordinal)
  FROM unnest($1::bigint[], $2::timestamptz[], $3::int[]) p (market, exchange_ts, ordinal)
