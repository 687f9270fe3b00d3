-- The hours of plain PostgreSQL: made before their first row, listed, summarized.

-- By what the tables are, not by what is installed (keep_in_hours).
CREATE FUNCTION storage_engine() RETURNS text LANGUAGE sql STABLE SET search_path = public, pg_catalog AS $$
    SELECT CASE relkind WHEN 'p' THEN 'partitions' ELSE 'timescaledb' END FROM pg_class WHERE oid = 'public.deltas'::regclass
$$;
COMMENT ON FUNCTION storage_engine IS 'What keeps the hours: timescaledb, or partitions.';

-- An hour that was detached and whose table could not be dropped then (a lock, an end of the process) is still an hour: it
-- is dropped later, and its name is in no one's way when a clock comes back to it.
CREATE VIEW hours AS
SELECT parent.relname::text AS name, child.relname::text AS partition,
       substring(bounds.text FROM $re$FROM \('([^']+)'\)$re$)::timestamptz AS low,
       substring(bounds.text FROM $re$TO \('([^']+)'\)$re$)::timestamptz AS high,
       pg_total_relation_size(child.oid) AS bytes,
       format('ALTER TABLE %I DETACH PARTITION %I CONCURRENTLY', parent.relname, child.relname) AS detach,
       format('DROP TABLE %I', child.relname) AS remove
  FROM partitioned_tables p
  JOIN pg_class parent ON parent.oid = to_regclass(p.name)
  JOIN pg_inherits i ON i.inhparent = parent.oid
  JOIN pg_class child ON child.oid = i.inhrelid
 CROSS JOIN LATERAL (SELECT pg_get_expr(child.relpartbound, child.oid) AS text) bounds
 WHERE child.relpartbound IS NOT NULL
UNION ALL
SELECT p.name, child.relname::text, begun.low, begun.low + interval '1 hour', pg_total_relation_size(child.oid), NULL,
       format('DROP TABLE %I', child.relname)
  FROM partitioned_tables p
  JOIN pg_class parent ON parent.oid = to_regclass(p.name) AND parent.relkind = 'p'
  JOIN pg_class child ON child.relnamespace = parent.relnamespace AND child.relkind = 'r'
                     AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = child.oid)
 CROSS JOIN LATERAL (SELECT to_timestamp(substring(child.relname FROM '^' || p.name || '_p([0-9]{10})$') || '+00', 'YYYYMMDDHH24TZH')) begun (low)
 WHERE begun.low IS NOT NULL;
COMMENT ON VIEW hours IS 'The hours of plain PostgreSQL, with the statements that take them away; detach is null for those that are detached.';

CREATE FUNCTION ensure_partition(at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_catalog SET lock_timeout = '2s' AS $$
DECLARE
    part record;
    low timestamptz := date_trunc('hour', at, 'UTC');
    child text;
    pending boolean;
BEGIN
    IF storage_engine() = 'timescaledb' THEN RETURN; END IF;
    PERFORM pg_advisory_xact_lock(hashtext('ensure_partition'));
    FOR part IN SELECT name FROM partitioned_tables LOOP
        child := part.name || to_char(low AT TIME ZONE 'UTC', '"_p"YYYYMMDDHH24');
        IF to_regclass(child) IS NOT NULL THEN
            -- What is detached, or about to be, takes no rows: retention wanted it gone, and all of it is read or listed.
            pending := (SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = to_regclass(child));
            IF pending THEN
                EXECUTE format('ALTER TABLE %I DETACH PARTITION %I FINALIZE', part.name, child);
            END IF;
            IF pending IS NOT FALSE THEN
                EXECUTE format('DROP TABLE %I', child);
            END IF;
        END IF;
        IF to_regclass(child) IS NULL THEN
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', child, part.name);
            EXECUTE format('ALTER TABLE %I ADD CONSTRAINT hour CHECK (stored_at >= %L AND stored_at < %L)',
                           child, low, low + interval '1 hour');
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                           part.name, child, low, low + interval '1 hour');
            EXECUTE format('ALTER TABLE %I DROP CONSTRAINT hour', child);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION ensure_partition IS 'Make the hour of a moment ready in every table, before its first row.';

-- A BRIN index knows of a page only once it was summarized.
CREATE FUNCTION summarize_deltas() RETURNS void LANGUAGE plpgsql SET search_path = public, pg_catalog AS $$
BEGIN
    PERFORM brin_summarize_new_values(newest.oid)
       FROM (SELECT c.oid FROM pg_inherits h
               JOIN pg_index i ON i.indrelid = h.inhrelid
               JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam AND a.amname = 'brin'
              WHERE h.inhparent = 'deltas'::regclass
              ORDER BY h.inhrelid DESC LIMIT 2) newest;
END $$;
COMMENT ON FUNCTION summarize_deltas IS 'Bring the new pages of the newest hours into their index: the loader does so every second.';
