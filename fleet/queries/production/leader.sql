-- The leader of an event
SELECT ticker, yes_sub_title, implied_yes_mid, exchange_ts FROM event_leader_latest WHERE event_ticker = :event
