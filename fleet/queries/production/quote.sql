-- Best bid, best ask and spread at a moment
-- A NO bid at price p is an offer of YES at 1 - p.
SELECT max(price) FILTER (WHERE side = 'yes') AS yes_bid,
       1 - max(price) FILTER (WHERE side = 'no') AS yes_ask,
       1 - max(price) FILTER (WHERE side = 'no') - max(price) FILTER (WHERE side = 'yes') AS spread
  FROM book_at(:ticker, :at)
