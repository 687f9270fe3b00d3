-- Once, also if it is read again.
INSERT INTO store.rest_books (market, gatherer, requested_at, taken_at, agrees, yes, no)
SELECT $1::bigint, $2::smallint, $3::timestamptz, $4::timestamptz, $5::smallint, $6, $7
 WHERE NOT EXISTS (SELECT FROM store.rest_books r
                    WHERE (r.market, r.gatherer, r.requested_at, r.taken_at) = ($1, $2, $3, $4))
