SELECT lane, batch FROM store.cursors WHERE gatherer = $1
