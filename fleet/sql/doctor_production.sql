-- Of the account of the deduplicator: whether it may write.
SELECT current_user AS account, has_table_privilege('store.deltas', 'INSERT') AND has_table_privilege('store.lease', 'UPDATE') AS may
