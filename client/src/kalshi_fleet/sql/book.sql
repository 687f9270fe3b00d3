SELECT $1::text AS ticker, (extract(epoch FROM $2::timestamptz) * 1000)::bigint AS at, side,
       row_number() OVER (PARTITION BY side ORDER BY price DESC) - 1 AS level, price, size
  FROM book_at($1, $2)
 ORDER BY side DESC, price DESC
