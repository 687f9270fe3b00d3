SELECT heals FROM store.lease WHERE epoch = $1 FOR UPDATE
