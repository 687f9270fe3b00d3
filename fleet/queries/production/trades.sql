-- A market's trades, in the exchange's order
-- A trade without an ordinal (a block trade, or one whose change is not recorded) comes after those of its millisecond.
SELECT exchange_ts, ordinal, yes_price, count, taker_side
  FROM trades
 WHERE ticker = :ticker AND exchange_ts >= :from AND exchange_ts < :to
 ORDER BY exchange_ts, ordinal NULLS LAST, trade_id
