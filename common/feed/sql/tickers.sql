SELECT market, ticker FROM store.markets WHERE market = ANY ($1::bigint[])
