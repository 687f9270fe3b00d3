SELECT compress_chunk($1::text::regclass, if_not_compressed => true)
