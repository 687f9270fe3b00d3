-- Where each numbered market's time line begins and ends. A market that REST does not know (yet) has no times.
SELECT n.market, n.ticker, n.seen_at, m.open_time, m.close_time, m.status, m.settlement_ts
  FROM store.markets n LEFT JOIN markets m USING (ticker)
