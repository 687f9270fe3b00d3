-- What trades of some stretches of time take from the book: the maker's side and price. Ordinal -1: none yet. $3 and $4, first
-- and last of all, leave other days' partitions alone from the start.
SELECT t.market, t.exchange_ts, coalesce(t.ordinal, -1), (1 - t.taker_side)::smallint,
       CASE t.taker_side WHEN 1 THEN t.yes_price ELSE 10000 - t.yes_price END, t.count
  FROM unnest($1::timestamptz[], $2::timestamptz[]) stretch (first, last)
  JOIN store.trades t ON t.exchange_ts BETWEEN stretch.first AND stretch.last
 WHERE NOT t.is_block AND t.exchange_ts BETWEEN $3::timestamptz AND $4::timestamptz
