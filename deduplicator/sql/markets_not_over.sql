SELECT market FROM store.markets WHERE NOT over ORDER BY market
