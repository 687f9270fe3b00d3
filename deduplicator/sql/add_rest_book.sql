INSERT INTO store.rest_books (market, gatherer, requested_at, taken_at, agrees, yes, no) VALUES ($1, $2, $3, $4, $5, $6, $7)
