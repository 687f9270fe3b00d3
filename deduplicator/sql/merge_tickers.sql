-- A union by (market, time, content): the channel is not numbered, so nothing more can be known.
INSERT INTO store.tickers (market, exchange_ts, content, price, yes_bid, yes_ask, yes_bid_size, yes_ask_size, volume,
                           open_interest, received_at)
SELECT market, exchange_ts,
       md5(concat_ws(',', coalesce(price::text, '-'), coalesce(yes_bid::text, '-'), coalesce(yes_ask::text, '-'),
                     coalesce(yes_bid_size::text, '-'), coalesce(yes_ask_size::text, '-'), coalesce(volume::text, '-'),
                     coalesce(open_interest::text, '-')))::uuid,
       price, yes_bid, yes_ask, yes_bid_size, yes_ask_size, volume, open_interest, received_at
  FROM pg_temp.ticker_copies ORDER BY received_at
ON CONFLICT (market, exchange_ts, content) DO NOTHING
RETURNING market, exchange_ts, price, yes_bid, yes_ask, yes_bid_size, yes_ask_size, volume, open_interest, received_at
