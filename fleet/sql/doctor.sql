-- name: doctor_owner
-- Of a gatherer's own account: whether it owns the tables, and what keeps its hours.
SELECT current_user AS account, storage_engine() AS engine,
       (SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('batches')) AS may

-- name: doctor_gatherer
-- Of an account that reads a gatherer's database: whose database it is, and whether the account may read and acknowledge.
SELECT current_user AS account, (SELECT instance::text FROM instance) AS instance,
       has_table_privilege('batches', 'SELECT')
           AND (SELECT coalesce(bool_and(has_function_privilege(oid, 'EXECUTE')), false) FROM pg_proc WHERE proname = 'acknowledge') AS may

-- name: doctor_production
-- Of the account of the deduplicator: whether it may write.
SELECT current_user AS account, has_table_privilege('store.deltas', 'INSERT') AND has_table_privilege('store.lease', 'UPDATE') AS may

-- name: doctor_reader
-- Of an account that only reads production: whether it may.
SELECT current_user AS account, has_table_privilege('store.deltas', 'SELECT') AND has_table_privilege('coverage', 'SELECT') AS may
