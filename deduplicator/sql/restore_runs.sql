SELECT r.*, s.channel FROM store.runs r JOIN store.slices s USING (gatherer, lane, slice) WHERE r.cover_from IS NOT NULL
