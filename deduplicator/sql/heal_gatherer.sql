SELECT gatherer FROM store.gatherers WHERE instance = $1
