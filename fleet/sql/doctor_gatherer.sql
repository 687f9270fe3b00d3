-- Of somebody who reads a gatherer's database: whose it is, and whether he may read and acknowledge.
SELECT current_user AS account, (SELECT instance::text FROM instance) AS instance,
       has_table_privilege('batches', 'SELECT')
           AND (SELECT coalesce(bool_and(has_function_privilege(oid, 'EXECUTE')), false) FROM pg_proc WHERE proname = 'acknowledge') AS may
