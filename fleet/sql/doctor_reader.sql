-- Of somebody who only reads production: whether he may.
SELECT current_user AS account, has_table_privilege('store.deltas', 'SELECT') AND has_table_privilege('coverage', 'SELECT') AS may
