-- Which of these markets something was recorded of lately.
SELECT m.ticker FROM markets m
 WHERE m.ticker = ANY ($1::text[])
   AND m.market IN (SELECT market FROM deltas WHERE stored_at > now() - $2::interval
                    UNION ALL SELECT market FROM trades WHERE stored_at > now() - $2::interval
                    UNION ALL SELECT market FROM tickers WHERE stored_at > now() - $2::interval)
