-- Of a gatherer's own account: whether it owns the tables, and who keeps its hours.
SELECT current_user AS account, storage_engine() AS engine,
       (SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('batches')) AS may
