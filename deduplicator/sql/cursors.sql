SELECT lane, batch, digest, again_until_us FROM store.cursors WHERE gatherer = $1
