SELECT r.lane, r.run, r.slice, r.cover_from_ms, s.session, s.sid, s.channel,
       h.horizon_ms, coalesce(h.ended, false) AS ended, coalesce(h.reason, '') AS reason
  FROM runs r JOIN markets m USING (market) JOIN slices s USING (lane, slice)
  LEFT JOIN LATERAL (SELECT max(horizon_ms) AS horizon_ms, bool_or(ended) AS ended, max(reason) FILTER (WHERE ended) AS reason
                       FROM horizons WHERE lane = r.lane AND slice = r.slice) h ON true
 WHERE m.ticker = $1 AND s.channel = 'orderbook_delta'
 ORDER BY r.lane, r.run
