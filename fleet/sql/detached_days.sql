-- Days whose changes have left production, in days since 1970.
SELECT day - date '1970-01-01' FROM store.detached
