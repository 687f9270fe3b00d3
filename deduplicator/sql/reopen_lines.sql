SELECT store.reopen_lines($1::bigint[])
