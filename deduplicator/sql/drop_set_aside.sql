DELETE FROM store.set_aside s USING unnest($1::text[], $2::text[]) x (kind, key) WHERE s.kind = x.kind AND s.key = x.key
