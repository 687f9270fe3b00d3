SELECT market, ticker FROM markets WHERE market = ANY ($1::bigint[])
