-- Everything about one market at a glance.
SELECT n.ticker, m.title, m.yes_sub_title, m.status, m.result, m.event_ticker, m.open_time, m.close_time, m.settlement_ts,
       m.volume_fp AS volume, c.first_seen, c.sealed_until, c.ended_at,
       (SELECT count(*) FROM coverage_gaps g WHERE g.ticker = n.ticker AND g.channel = 'orderbook_delta' AND g.healed_at IS NULL
          AND g.reason <> 'before_subscription') AS gaps,
       (SELECT string_agg(gatherer_id, ' ' ORDER BY gatherer_id) FROM coverage_by_gatherer b
         WHERE b.ticker = n.ticker AND b.channel = 'orderbook_delta') AS recorded_by,
       (SELECT max(exchange_ts) FROM store.deltas d WHERE d.market = n.market) AS last_change,
       (SELECT max(exchange_ts) FROM store.trades t WHERE t.market = n.market) AS last_trade,
       (SELECT count(*) FROM store.snapshots s WHERE s.market = n.market AND s.verified) AS snapshots_verified,
       (SELECT count(*) FROM store.snapshots s WHERE s.market = n.market AND s.verified IS FALSE) AS snapshots_false,
       (SELECT count(*) FROM store.unplaced u WHERE u.market = n.market) AS unplaced,
       (SELECT count(*) FROM store.conflicts k WHERE k.market = n.market) AS conflicts
  FROM store.markets n LEFT JOIN markets m USING (ticker)
  LEFT JOIN coverage c ON c.ticker = n.ticker AND c.channel = 'orderbook_delta'
 WHERE n.ticker = $1
