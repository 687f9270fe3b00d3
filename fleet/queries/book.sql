-- The book at a moment
-- Folded from the nearest snapshot or checkpoint before it: thousands of changes, not millions.
SELECT side, price, size FROM book_at(:ticker, :at)
