-- The book at a moment
-- Folded from the nearest snapshot or checkpoint before it: thousands of changes, not millions. From a gap of the order book to the next
-- row of `orderbook_snapshots` (seconds, as a rule) levels may be wrong: what happened in the gap is not in them.
SELECT side, price, size FROM book_at(:ticker, :at)
