-- Numbers that no loader has used since, and that no run names: the rows that had them are dropped.
DELETE FROM markets m
 WHERE m.used_at < $1 AND m.ticker <> ''
   AND NOT EXISTS (SELECT FROM runs r WHERE r.market = m.market)
