SELECT t.market, t.channel, t.gatherer, t.from_ts, t.to_ts
  FROM unnest($1::bigint[]) w (market) JOIN store.retractions t USING (market)
