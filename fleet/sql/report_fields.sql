-- Fields that no row keeps, known by the end of the stretch.
SELECT field, min(first_seen) AS first_seen FROM store.unknown_fields WHERE first_seen < $1 GROUP BY field ORDER BY field
