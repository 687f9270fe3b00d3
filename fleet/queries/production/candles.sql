-- Candlesticks of a market by minute
SELECT * FROM candles(:ticker, 1, :from, :to)
