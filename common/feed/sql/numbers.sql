SELECT market, ticker FROM store.markets WHERE ticker = ANY ($1::text[])
