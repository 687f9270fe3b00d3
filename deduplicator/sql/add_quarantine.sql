-- Once, also if it is read again: after a gatherer's database was put back, or from a part of a journal that was reloaded.
INSERT INTO store.quarantine (gatherer, session, sid, seq, reason, received_at, frame)
SELECT $1::smallint, $2::bigint, $3::int, $4::bigint, $5, $6::timestamptz, $7
 WHERE NOT EXISTS (SELECT FROM store.quarantine q
                    WHERE (q.gatherer, q.session, q.sid, q.seq, q.received_at) = ($1, $2, $3, $4, $6) AND q.frame = $7)
