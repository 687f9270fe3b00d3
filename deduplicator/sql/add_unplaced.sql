-- A part of a journal that was loaded again brings the same rows: they are kept once.
INSERT INTO store.unplaced (gatherer, session, sid, seq, lane, run, market, exchange_ts, exchange_us, side, price, delta, received_at)
SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::int[], $4::bigint[], $5::smallint[], $6::bigint[], $7::bigint[],
                     $8::timestamptz[], $9::smallint[], $10::smallint[], $11::int[], $12::bigint[], $13::timestamptz[])
ON CONFLICT (gatherer, session, sid, seq, run) DO NOTHING
RETURNING gatherer, session, sid, seq, lane, run, market, exchange_ts, exchange_us, side, price, delta, received_at
