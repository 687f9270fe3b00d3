-- BRIN indexes summarise new pages when asked: of the newest hour, which is the one that is written.
SELECT brin_summarize_new_values(i.indexrelid)
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_am a ON a.oid = c.relam AND a.amname = 'brin'
 WHERE i.indrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'deltas'::regclass
                       ORDER BY inhrelid DESC LIMIT 2)
