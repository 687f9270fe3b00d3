-- A market's changes of the book, in the exchange's order
SELECT exchange_ts, ordinal, side, price, delta
  FROM orderbook_deltas
 WHERE ticker = :ticker AND exchange_ts >= :from AND exchange_ts < :to
 ORDER BY exchange_ts, ordinal
