SELECT epoch FROM store.lease WHERE epoch = $1 FOR UPDATE
