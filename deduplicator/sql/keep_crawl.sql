INSERT INTO store.crawls (list, began_at, cursor, pages, rows, whole_at, since) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (list) DO UPDATE
   SET (began_at, cursor, pages, rows, whole_at, since)
     = (excluded.began_at, excluded.cursor, excluded.pages, excluded.rows, excluded.whole_at, excluded.since)
