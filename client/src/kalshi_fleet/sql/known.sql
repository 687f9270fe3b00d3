SELECT ticker FROM markets WHERE ticker = ANY($1::text[])
UNION
SELECT ticker FROM coverage WHERE ticker = ANY($1::text[])
