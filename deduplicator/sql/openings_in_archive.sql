-- Markets whose book at a moment cannot be folded here: changes that lead to it are in the archive only.
SELECT m.ticker
  FROM (SELECT DISTINCT market FROM store.snapshots WHERE source = 'checkpoint' AND verified IS FALSE) unknown
  JOIN store.markets m USING (market),
       LATERAL store.base_at(unknown.market, $1::timestamptz - interval '1 millisecond') b
 WHERE NOT b.here
