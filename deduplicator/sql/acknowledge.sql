SELECT acknowledge($1, $2, $3, $4)
