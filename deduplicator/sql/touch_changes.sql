SELECT store.touch_changes($1, $2, $3)
