-- Batches are read by the moment at which they were stored. Several lanes write into one hour, each with batch numbers of
-- its own, so that only time is in the order of the pages; and a BRIN index knows of a page only once it was summarized.
DO $$
DECLARE
    old record;
BEGIN
    FOR old IN SELECT i.indexrelid::regclass::text AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                 JOIN pg_am a ON a.oid = c.relam AND a.amname = 'brin' WHERE i.indrelid = 'deltas'::regclass LOOP
        EXECUTE 'DROP INDEX ' || old.name;
    END LOOP;
END $$;
CREATE INDEX deltas_stored_at ON deltas USING brin (stored_at) WITH (pages_per_range = 16, autosummarize = on);

CREATE FUNCTION summarize_deltas() RETURNS void LANGUAGE plpgsql SET search_path = public, pg_catalog AS $$
BEGIN
    PERFORM brin_summarize_new_values(newest.oid)
       FROM (SELECT c.oid FROM pg_inherits h
               JOIN pg_index i ON i.indrelid = h.inhrelid
               JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam AND a.amname = 'brin'
              WHERE h.inhparent = 'deltas'::regclass
              ORDER BY h.inhrelid DESC LIMIT 2) newest;
END $$;
COMMENT ON FUNCTION summarize_deltas IS 'Tell the index of the newest hours what their new pages hold: the loader does so every second.';
