-- All outcomes of an event, with their latest quotes
SELECT ticker, yes_bid, yes_ask, implied_yes_mid FROM event_outcomes_latest WHERE event_ticker = :event ORDER BY implied_yes_mid DESC NULLS LAST
