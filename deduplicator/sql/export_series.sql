SELECT ticker, title, category, updated_at, raw::text AS raw FROM series ORDER BY ticker
