-- Why a gatherer's last run of a market ended, or lost its say, also after it had ended: the reason of a hole that is waited
-- for. Of some markets; a run that never claimed says nothing of it.
SELECT DISTINCT ON (market, channel, gatherer) market, channel, gatherer, reason
  FROM (SELECT r.market, s.channel, r.gatherer,
               CASE WHEN r.ended THEN r.reason ELSE 'conflict' END AS reason,
               CASE WHEN r.ended THEN r.cover_to ELSE r.cover_from END AS at
          FROM unnest($1::bigint[]) w (market) JOIN store.runs r USING (market)
          JOIN store.slices s USING (gatherer, lane, slice)
         WHERE (r.ended OR r.fixed) AND r.cover_from IS NOT NULL
        UNION ALL
        SELECT t.market, t.channel, t.gatherer, t.reason, t.to_ts
          FROM unnest($1::bigint[]) w (market) JOIN store.retractions t USING (market)
         WHERE t.gatherer IS NOT NULL) e
 ORDER BY market, channel, gatherer, at DESC NULLS LAST, (reason = 'conflict') DESC
