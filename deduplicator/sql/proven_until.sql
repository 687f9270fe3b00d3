-- By lane, up to where the slowest of a gatherer's open order-book slices is proven complete.
SELECT lane, (extract(epoch FROM min(coalesce(horizon, now()))) * 1000)::bigint AS proven_ms
  FROM store.slices WHERE gatherer = $1 AND NOT ended AND channel = 'orderbook_delta' GROUP BY lane
