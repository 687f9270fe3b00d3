SELECT market FROM store.lines WHERE NOT over
