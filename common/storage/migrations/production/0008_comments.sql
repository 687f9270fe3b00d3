-- What every column that people query means: \d+ teaches.

COMMENT ON COLUMN candlesticks.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN candlesticks.period_minutes IS '1, 60 or 1440.';
COMMENT ON COLUMN candlesticks.open IS 'First price of the period, dollars of YES.';
COMMENT ON COLUMN candlesticks.high IS 'Greatest price.';
COMMENT ON COLUMN candlesticks.low IS 'Least price.';
COMMENT ON COLUMN candlesticks.close IS 'Last price.';
COMMENT ON COLUMN candlesticks.volume IS 'Contracts traded in the period.';

COMMENT ON COLUMN event_leader_latest.event_ticker IS 'The event that the market is an outcome of.';
COMMENT ON COLUMN event_leader_latest.strike_period IS 'Of the event: hour, day, week ..., as the exchange says.';
COMMENT ON COLUMN event_leader_latest.strike_date IS 'Of the event: the date that it is about.';
COMMENT ON COLUMN event_leader_latest.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN event_leader_latest.yes_sub_title IS 'What YES stands for.';
COMMENT ON COLUMN event_leader_latest.status IS 'The exchange''s word: initialized, active, inactive, closed, determined, disputed, amended or finalized.';
COMMENT ON COLUMN event_leader_latest.result IS 'yes, no or scalar once the market is determined; empty before.';
COMMENT ON COLUMN event_leader_latest.implied_yes_mid IS 'Middle of the best YES bid and ask, in dollars: the greatest of the event.';
COMMENT ON COLUMN event_leader_latest.yes_bid IS 'Best YES bid, dollars.';
COMMENT ON COLUMN event_leader_latest.yes_ask IS 'Best YES ask, dollars.';
COMMENT ON COLUMN event_leader_latest.price IS 'Last price, dollars.';
COMMENT ON COLUMN event_leader_latest.volume IS 'Contracts traded since the market opened.';
COMMENT ON COLUMN event_leader_latest.open_interest IS 'Contracts held.';
COMMENT ON COLUMN event_leader_latest.exchange_ts IS 'Time of the latest tick.';

COMMENT ON COLUMN event_outcomes_latest.event_ticker IS 'The event that the market is an outcome of.';
COMMENT ON COLUMN event_outcomes_latest.strike_period IS 'Of the event: hour, day, week ..., as the exchange says.';
COMMENT ON COLUMN event_outcomes_latest.strike_date IS 'Of the event: the date that it is about.';
COMMENT ON COLUMN event_outcomes_latest.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN event_outcomes_latest.yes_sub_title IS 'What YES stands for.';
COMMENT ON COLUMN event_outcomes_latest.status IS 'The exchange''s word: initialized, active, inactive, closed, determined, disputed, amended or finalized.';
COMMENT ON COLUMN event_outcomes_latest.result IS 'yes, no or scalar once the market is determined; empty before.';
COMMENT ON COLUMN event_outcomes_latest.yes_bid IS 'Best YES bid, dollars.';
COMMENT ON COLUMN event_outcomes_latest.yes_ask IS 'Best YES ask, dollars.';
COMMENT ON COLUMN event_outcomes_latest.price IS 'Last price, dollars.';
COMMENT ON COLUMN event_outcomes_latest.volume IS 'Contracts traded since the market opened.';
COMMENT ON COLUMN event_outcomes_latest.open_interest IS 'Contracts held.';
COMMENT ON COLUMN event_outcomes_latest.exchange_ts IS 'Time of the latest tick.';

COMMENT ON TABLE events IS 'Events, as REST lists them; combos included.';
COMMENT ON COLUMN events.ticker IS 'The event''s ticker.';
COMMENT ON COLUMN events.series_ticker IS 'The series that the event belongs to.';
COMMENT ON COLUMN events.title IS 'Its title.';
COMMENT ON COLUMN events.sub_title IS 'Its second title.';
COMMENT ON COLUMN events.strike_date IS 'Of the event: the date that it is about.';
COMMENT ON COLUMN events.strike_period IS 'Of the event: hour, day, week ..., as the exchange says.';
COMMENT ON COLUMN events.updated_at IS 'When production last took a change of this object over from REST.';
COMMENT ON COLUMN events.raw IS 'The whole object as REST gave it.';

COMMENT ON COLUMN lifecycle_events.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN lifecycle_events.event_type IS 'created, activated, deactivated, close_date_updated, determined, settled ...';
COMMENT ON COLUMN lifecycle_events.exchange_ts IS 'Time that the message gives; null: it gives none.';
COMMENT ON COLUMN lifecycle_events.payload IS 'The message.';
COMMENT ON COLUMN lifecycle_events.received_at IS 'When the first stored copy was received, by that gatherer''s clock.';

COMMENT ON COLUMN market_changes.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN market_changes.seen_at IS 'When production saw the change.';
COMMENT ON COLUMN market_changes.field IS 'The field of the market object.';
COMMENT ON COLUMN market_changes.old IS 'Its former value, as JSON; null: it was not there.';
COMMENT ON COLUMN market_changes.new IS 'Its new value, as JSON.';

COMMENT ON TABLE markets IS 'Markets, as REST lists them. market_changes keeps their history.';
COMMENT ON COLUMN markets.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN markets.event_ticker IS 'The event that the market is an outcome of.';
COMMENT ON COLUMN markets.market_type IS 'binary or scalar.';
COMMENT ON COLUMN markets.title IS 'Its title.';
COMMENT ON COLUMN markets.yes_sub_title IS 'What YES stands for.';
COMMENT ON COLUMN markets.status IS 'The exchange''s word: initialized, active, inactive, closed, determined, disputed, amended or finalized.';
COMMENT ON COLUMN markets.result IS 'yes, no or scalar once the market is determined; empty before.';
COMMENT ON COLUMN markets.open_time IS 'When trading opens or opened.';
COMMENT ON COLUMN markets.close_time IS 'When trading ends or ended.';
COMMENT ON COLUMN markets.settlement_ts IS 'When it was settled.';
COMMENT ON COLUMN markets.volume_fp IS 'Contracts traded, as REST last said.';
COMMENT ON COLUMN markets.updated_at IS 'When production last took a change of this object over from REST.';
COMMENT ON COLUMN markets.raw IS 'The whole object as REST gave it.';

COMMENT ON COLUMN merge_conflicts.conflict IS 'Number of the row.';
COMMENT ON COLUMN merge_conflicts.kind IS 'order_disputed, conflict, head, reset_disputed, trade ...';
COMMENT ON COLUMN merge_conflicts.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN merge_conflicts.exchange_ts IS 'Time of the exchange, whole milliseconds.';
COMMENT ON COLUMN merge_conflicts.versions IS 'What each side has, as JSON, in integers of 1e-4 dollar and 1e-2 contract.';
COMMENT ON COLUMN merge_conflicts.seen_at IS 'When the merge saw it.';

COMMENT ON COLUMN orderbook_deltas.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN orderbook_deltas.price IS 'Price of the level in dollars; of side no: the NO price.';

COMMENT ON COLUMN orderbook_snapshots.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN orderbook_snapshots.exchange_ts IS 'The book is that after all changes up to here.';
COMMENT ON COLUMN orderbook_snapshots.taken_at IS 'When the snapshot was received; of a checkpoint, when it was folded.';
COMMENT ON COLUMN orderbook_snapshots.yes IS 'YES bids as [price in dollars, size in contracts], best first.';
COMMENT ON COLUMN orderbook_snapshots.no IS 'NO bids, likewise, at NO prices.';

COMMENT ON COLUMN quarantine.gatherer_id IS 'The gatherer''s name.';
COMMENT ON COLUMN quarantine.session IS 'The WebSocket connection''s number at that gatherer.';
COMMENT ON COLUMN quarantine.sid IS 'The exchange''s number of the subscription within the session.';
COMMENT ON COLUMN quarantine.seq IS 'The frame''s number within the subscription.';
COMMENT ON COLUMN quarantine.reason IS 'What is wrong with it.';
COMMENT ON COLUMN quarantine.received_at IS 'When it was received.';
COMMENT ON COLUMN quarantine.frame IS 'The frame, as received.';

COMMENT ON TABLE series IS 'Series, as REST lists them.';
COMMENT ON COLUMN series.ticker IS 'The series'' ticker.';
COMMENT ON COLUMN series.title IS 'Its title.';
COMMENT ON COLUMN series.category IS 'Its category.';
COMMENT ON COLUMN series.updated_at IS 'When production last took a change of this object over from REST.';
COMMENT ON COLUMN series.raw IS 'The whole object as REST gave it.';

COMMENT ON COLUMN tickers.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN tickers.exchange_ts IS 'Time of the exchange, whole milliseconds.';
COMMENT ON COLUMN tickers.price IS 'Last price, dollars.';
COMMENT ON COLUMN tickers.yes_bid IS 'Best YES bid, dollars.';
COMMENT ON COLUMN tickers.yes_ask IS 'Best YES ask, dollars.';
COMMENT ON COLUMN tickers.yes_bid_size IS 'Contracts at the best bid.';
COMMENT ON COLUMN tickers.yes_ask_size IS 'Contracts at the best ask.';
COMMENT ON COLUMN tickers.volume IS 'Contracts traded since the market opened.';
COMMENT ON COLUMN tickers.open_interest IS 'Contracts held.';
COMMENT ON COLUMN tickers.received_at IS 'When the first stored copy was received, by that gatherer''s clock.';

COMMENT ON COLUMN trades.trade_id IS 'The exchange''s number of the trade.';
COMMENT ON COLUMN trades.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN trades.exchange_ts IS 'Time of the exchange, whole milliseconds.';
COMMENT ON COLUMN trades.yes_price IS 'Price of YES in dollars.';
COMMENT ON COLUMN trades.count IS 'Contracts.';
COMMENT ON COLUMN trades.taker_side IS 'yes or no: what the taker bought.';
COMMENT ON COLUMN trades.is_block IS 'Made off the book.';
COMMENT ON COLUMN trades.received_at IS 'When the first stored copy was received, by that gatherer''s clock.';

COMMENT ON COLUMN unplaced_deltas.gatherer_id IS 'The gatherer''s name.';
COMMENT ON COLUMN unplaced_deltas.session IS 'The WebSocket connection''s number at that gatherer.';
COMMENT ON COLUMN unplaced_deltas.sid IS 'The exchange''s number of the subscription within the session.';
COMMENT ON COLUMN unplaced_deltas.seq IS 'The frame''s number within the subscription.';
COMMENT ON COLUMN unplaced_deltas.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN unplaced_deltas.exchange_ts IS 'Time of the exchange, whole milliseconds.';
COMMENT ON COLUMN unplaced_deltas.exchange_us IS 'Microseconds within the millisecond; null where the exchange does not say.';
COMMENT ON COLUMN unplaced_deltas.side IS 'yes or no; prices of side no are NO prices.';
COMMENT ON COLUMN unplaced_deltas.price IS 'Price of the level in dollars.';
COMMENT ON COLUMN unplaced_deltas.delta IS 'Signed size, contracts.';
COMMENT ON COLUMN unplaced_deltas.received_at IS 'When the first stored copy was received, by that gatherer''s clock.';
COMMENT ON COLUMN unplaced_deltas.reason IS 'Why it has no place.';
