DELETE FROM store.unplaced u
 USING unnest($1::smallint[], $2::bigint[], $3::int[], $4::bigint[], $5::bigint[]) x (gatherer, session, sid, seq, run)
 WHERE (u.gatherer, u.session, u.sid, u.seq, u.run) = (x.gatherer, x.session, x.sid, x.seq, x.run)
RETURNING u.gatherer, u.session, u.sid, u.seq, u.lane, u.run, u.market, u.exchange_ts, u.exchange_us, u.side, u.price, u.delta, u.received_at
