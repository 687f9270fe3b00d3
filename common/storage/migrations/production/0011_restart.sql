-- A restart, and what is asked every second, read what is alive or has changed, not all there ever was.
CREATE INDEX ON markets (updated_at);
CREATE INDEX runs_open ON store.runs (market) WHERE NOT ended AND cover_from IS NOT NULL;
