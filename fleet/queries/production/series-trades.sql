-- Trades of a series, by market
SELECT t.ticker, count(*) AS trades, sum(t.count) AS contracts, sum(t.count * t.yes_price) AS yes_dollars
  FROM trades t
  JOIN markets m ON m.ticker = t.ticker
  JOIN events e ON e.ticker = m.event_ticker
 WHERE e.series_ticker = :series AND t.exchange_ts >= :from AND t.exchange_ts < :to
 GROUP BY t.ticker
 ORDER BY contracts DESC
