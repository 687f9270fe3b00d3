-- How many changes the archive's object of an hour has; null: it was never exported.
SELECT coalesce(delta_rows, 0) FROM store.exports WHERE hour = $1
