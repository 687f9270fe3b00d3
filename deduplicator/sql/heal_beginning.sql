-- A market's first gap, as it is before a heal.
SELECT started_at, ended_at FROM store.beginnings WHERE market = $1
