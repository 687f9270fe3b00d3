SELECT began_at, cursor, pages, rows, whole_at, since FROM store.crawls WHERE list = $1
