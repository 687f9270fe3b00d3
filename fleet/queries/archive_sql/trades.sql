-- A market's trades, in the exchange's order
-- A trade without an ordinal (a block trade, or one whose change is not recorded) comes after those of its millisecond.
SELECT trade_id, exchange_ts, ordinal, yes_price, "count", taker_side, is_block, source
  FROM trades
 WHERE ticker = :ticker AND "date" BETWEEN CAST(CAST(:from AS date) AS varchar) AND CAST(CAST(:to AS date) AS varchar)
   AND exchange_ts >= :from AND exchange_ts < :to
 ORDER BY exchange_ts, ordinal NULLS LAST, trade_id
