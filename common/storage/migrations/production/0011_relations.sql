-- The relations that people query. They only rename, join the ticker and scale: a condition on ticker or time reaches
-- the index and prunes partitions. Prices are dollars, sizes contracts, both exact. Every column says what it means.

CREATE VIEW orderbook_deltas AS
SELECT m.ticker, d.exchange_ts, d.ordinal,
       CASE d.side WHEN 0 THEN 'yes' ELSE 'no' END AS side,
       d.price * 0.0001 AS price, d.delta * 0.01 AS delta,
       nullif(d.exchange_us, -1) AS exchange_us, d.received_at
  FROM store.deltas d JOIN store.markets m USING (market);
COMMENT ON VIEW orderbook_deltas IS 'Every order-book change, once, in the exchange''s order: by ticker, exchange_ts, ordinal.';
COMMENT ON COLUMN orderbook_deltas.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN orderbook_deltas.exchange_ts IS 'Whole milliseconds of the exchange''s clock.';
COMMENT ON COLUMN orderbook_deltas.ordinal IS 'Position among all changes of the market in that millisecond, from 0.';
COMMENT ON COLUMN orderbook_deltas.side IS 'yes or no; prices of side no are NO prices.';
COMMENT ON COLUMN orderbook_deltas.price IS 'Price of the level in dollars; of side no: the NO price.';
COMMENT ON COLUMN orderbook_deltas.delta IS 'Signed size added to the level, in contracts.';
COMMENT ON COLUMN orderbook_deltas.exchange_us IS 'Microseconds within the millisecond, 0 to 999; null where the exchange sends none.';
COMMENT ON COLUMN orderbook_deltas.received_at IS 'When the first stored copy was received, by that gatherer''s clock.';

CREATE VIEW orderbook_snapshots AS
SELECT m.ticker, s.exchange_ts, s.after_ordinal, s.taken_at, s.source,
       store.levels(s.yes) AS yes, store.levels(s.no) AS no, s.verified, s.is_reset
  FROM store.snapshots s JOIN store.markets m USING (market)
UNION ALL
SELECT ticker, exchange_ts, after_ordinal, taken_at, source, yes, no, verified, is_reset FROM store.rest_snapshots;
COMMENT ON VIEW orderbook_snapshots IS 'Books at known places: after all changes up to (exchange_ts, after_ordinal). And books from REST, which carry no place, where they did not agree with the changes or could not be compared.';
COMMENT ON COLUMN orderbook_snapshots.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN orderbook_snapshots.exchange_ts IS 'The book is that after all changes up to here.';
COMMENT ON COLUMN orderbook_snapshots.after_ordinal IS '-1: before every change of that millisecond.';
COMMENT ON COLUMN orderbook_snapshots.taken_at IS 'When the snapshot was received; of a checkpoint, when it was folded.';
COMMENT ON COLUMN orderbook_snapshots.source IS 'ws: the exchange sent it. checkpoint: folded from changes here, so that book_at need not fold a market''s whole history. rest: asked for every snapshots.interval; no place; kept here only if it did not agree.';
COMMENT ON COLUMN orderbook_snapshots.yes IS 'YES bids as [price in dollars, size in contracts], best first.';
COMMENT ON COLUMN orderbook_snapshots.no IS 'NO bids, likewise, at NO prices.';
COMMENT ON COLUMN orderbook_snapshots.verified IS 'true: equal to the folded changes; false: not; null: there was nothing to compare with.';
COMMENT ON COLUMN orderbook_snapshots.is_reset IS 'The exchange replaced the book without changes (a close, a settlement); applies from taken_at on.';

CREATE FUNCTION book_at(ticker text, at timestamptz) RETURNS TABLE (side text, price numeric, size numeric)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF EXISTS (SELECT FROM store.markets m, store.base_at(m.market, book_at.at) b WHERE m.ticker = book_at.ticker AND NOT b.here) THEN
        RAISE EXCEPTION 'the changes that lead to the book of % at % have left production', book_at.ticker, book_at.at
              USING HINT = 'They are in the archive: its query "book".';
    END IF;
    RETURN QUERY
    SELECT CASE f.side WHEN 0 THEN 'yes' ELSE 'no' END, f.price * 0.0001, f.size * 0.01
      FROM store.markets m, store.fold(m.market, book_at.at) f
     WHERE m.ticker = book_at.ticker
     ORDER BY f.side, f.price DESC;
END $$;
COMMENT ON FUNCTION book_at IS 'The book of a market after all changes up to a time, best level first. Promised up to coverage.sealed_until, outside gaps; beyond it the best known. An error where the changes are in the archive only.';

CREATE VIEW trades AS
SELECT t.trade_id, m.ticker, t.exchange_ts, t.ordinal, t.yes_price * 0.0001 AS yes_price, t.count * 0.01 AS count,
       CASE t.taker_side WHEN 0 THEN 'yes' ELSE 'no' END AS taker_side, t.is_block, t.received_at, t.source
  FROM store.trades t JOIN store.markets m USING (market);
COMMENT ON VIEW trades IS 'Every trade, once, by trade_id. The exchange''s order is (exchange_ts, ordinal, trade_id), a null ordinal last.';
COMMENT ON COLUMN trades.trade_id IS 'The exchange''s number of the trade.';
COMMENT ON COLUMN trades.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN trades.exchange_ts IS 'Time of the exchange, whole milliseconds.';
COMMENT ON COLUMN trades.ordinal IS 'Ordinal of the order-book change that the trade made, in the same millisecond. Null: a block trade, or the change is not recorded.';
COMMENT ON COLUMN trades.yes_price IS 'Price of YES in dollars.';
COMMENT ON COLUMN trades.count IS 'Contracts.';
COMMENT ON COLUMN trades.taker_side IS 'yes or no: what the taker bought.';
COMMENT ON COLUMN trades.is_block IS 'Made off the book.';
COMMENT ON COLUMN trades.received_at IS 'When the first stored copy was received, by that gatherer''s clock.';
COMMENT ON COLUMN trades.source IS 'ws: a gatherer received it. rest: nobody did; it is from the exchange''s list (received_at: when it was read).';

CREATE VIEW candlesticks AS
SELECT c.* FROM (
    SELECT m.ticker, p.period_minutes,
           date_bin(make_interval(mins => p.period_minutes), t.exchange_ts, 'epoch') + make_interval(mins => p.period_minutes) AS end_ts,
           (array_agg(t.yes_price ORDER BY t.exchange_ts, t.ordinal, t.trade_id))[1] * 0.0001 AS open,
           max(t.yes_price) * 0.0001 AS high, min(t.yes_price) * 0.0001 AS low,
           (array_agg(t.yes_price ORDER BY t.exchange_ts DESC, t.ordinal DESC, t.trade_id DESC))[1] * 0.0001 AS close,
           sum(t.count) * 0.01 AS volume, NULL::numeric AS open_interest, 'trades'::text AS source
      FROM store.trades t JOIN store.markets m USING (market) CROSS JOIN (VALUES (1), (60), (1440)) p (period_minutes)
     GROUP BY m.ticker, p.period_minutes, 3) c
 WHERE NOT EXISTS (SELECT FROM store.rest_candles r
                    WHERE r.ticker = c.ticker AND r.period_minutes = c.period_minutes AND r.end_ts = c.end_ts)
UNION ALL
SELECT r.ticker, r.period_minutes, r.end_ts, r.open * 0.0001, r.high * 0.0001, r.low * 0.0001, r.close * 0.0001,
       r.volume * 0.01, r.open_interest * 0.01, 'rest'
  FROM store.rest_candles r;
COMMENT ON VIEW candlesticks IS 'Candlesticks of 1, 60 and 1440 minutes: from recorded trades, and where fleet backfill has read the exchange''s own, those. Ask for one ticker; for a part of its time ask candles(), which reads that part only.';
COMMENT ON COLUMN candlesticks.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN candlesticks.period_minutes IS '1, 60 or 1440.';
COMMENT ON COLUMN candlesticks.end_ts IS 'End of the period (exclusive), UTC.';
COMMENT ON COLUMN candlesticks.open IS 'First price of the period, dollars of YES.';
COMMENT ON COLUMN candlesticks.high IS 'Greatest price.';
COMMENT ON COLUMN candlesticks.low IS 'Least price.';
COMMENT ON COLUMN candlesticks.close IS 'Last price.';
COMMENT ON COLUMN candlesticks.volume IS 'Contracts traded in the period.';
COMMENT ON COLUMN candlesticks.open_interest IS 'Not known from trades: null.';
COMMENT ON COLUMN candlesticks.source IS 'trades: made of the trades here. rest: the exchange''s own.';

CREATE FUNCTION candles(ticker text, period_minutes int, from_ts timestamptz, to_ts timestamptz)
RETURNS TABLE (end_ts timestamptz, open numeric, high numeric, low numeric, close numeric, volume numeric, trades bigint)
LANGUAGE sql STABLE AS $$
    SELECT date_bin(make_interval(mins => period_minutes), t.exchange_ts, 'epoch') + make_interval(mins => period_minutes),
           (array_agg(t.yes_price ORDER BY t.exchange_ts, t.ordinal, t.trade_id))[1] * 0.0001, max(t.yes_price) * 0.0001,
           min(t.yes_price) * 0.0001,
           (array_agg(t.yes_price ORDER BY t.exchange_ts DESC, t.ordinal DESC, t.trade_id DESC))[1] * 0.0001,
           sum(t.count) * 0.01, count(*)
      FROM store.trades t JOIN store.markets m USING (market)
     WHERE m.ticker = candles.ticker AND t.exchange_ts >= from_ts AND t.exchange_ts < to_ts
     GROUP BY 1
     ORDER BY 1
$$;
COMMENT ON FUNCTION candles IS 'Candlesticks of one market from its trades, from the given begin (inclusive) to the end (exclusive); YES prices in dollars. A period without trades has none.';

CREATE VIEW tickers AS
SELECT m.ticker, t.exchange_ts, t.price * 0.0001 AS price, t.yes_bid * 0.0001 AS yes_bid, t.yes_ask * 0.0001 AS yes_ask,
       t.yes_bid_size * 0.01 AS yes_bid_size, t.yes_ask_size * 0.01 AS yes_ask_size,
       t.volume * 0.01 AS volume, t.open_interest * 0.01 AS open_interest, t.received_at
  FROM store.tickers t JOIN store.markets m USING (market);
COMMENT ON VIEW tickers IS 'Ticker messages as a union of all copies. The channel is not numbered: losses cannot be detected.';
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

CREATE VIEW event_outcomes_latest AS
SELECT m.event_ticker, e.strike_period, e.strike_date, m.ticker, m.yes_sub_title, m.status, m.result,
       (l.yes_bid + l.yes_ask) * 0.00005 AS implied_yes_mid, l.yes_bid * 0.0001 AS yes_bid, l.yes_ask * 0.0001 AS yes_ask,
       l.price * 0.0001 AS price, l.volume * 0.01 AS volume, l.open_interest * 0.01 AS open_interest, l.exchange_ts
  FROM markets m
  JOIN store.markets n ON n.ticker = m.ticker
  LEFT JOIN events e ON e.ticker = m.event_ticker
 CROSS JOIN LATERAL (SELECT t.* FROM store.tickers t WHERE t.market = n.market
                      ORDER BY t.exchange_ts DESC, t.received_at DESC LIMIT 1) l;
COMMENT ON VIEW event_outcomes_latest IS 'The latest tick of each outcome of an event. Ask for one event_ticker.';
COMMENT ON COLUMN event_outcomes_latest.event_ticker IS 'The event that the market is an outcome of.';
COMMENT ON COLUMN event_outcomes_latest.strike_period IS 'Of the event: hour, day, week ..., in the exchange''s words.';
COMMENT ON COLUMN event_outcomes_latest.strike_date IS 'Of the event: the date that it is about.';
COMMENT ON COLUMN event_outcomes_latest.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN event_outcomes_latest.yes_sub_title IS 'What YES stands for.';
COMMENT ON COLUMN event_outcomes_latest.status IS 'The exchange''s word: initialized, active, inactive, closed, determined, disputed, amended or finalized.';
COMMENT ON COLUMN event_outcomes_latest.result IS 'yes, no or scalar once the market is determined; empty before.';
COMMENT ON COLUMN event_outcomes_latest.yes_bid IS 'Best YES bid, dollars.';
COMMENT ON COLUMN event_outcomes_latest.yes_ask IS 'Best YES ask, dollars.';
COMMENT ON COLUMN event_outcomes_latest.implied_yes_mid IS 'Middle of the best YES bid and ask, in dollars; null if one side is empty.';
COMMENT ON COLUMN event_outcomes_latest.price IS 'Last price, dollars.';
COMMENT ON COLUMN event_outcomes_latest.volume IS 'Contracts traded since the market opened.';
COMMENT ON COLUMN event_outcomes_latest.open_interest IS 'Contracts held.';
COMMENT ON COLUMN event_outcomes_latest.exchange_ts IS 'Time of the latest tick.';

CREATE VIEW event_leader_latest AS
SELECT DISTINCT ON (event_ticker) * FROM event_outcomes_latest
 WHERE implied_yes_mid IS NOT NULL
 ORDER BY event_ticker, implied_yes_mid DESC, ticker;
COMMENT ON VIEW event_leader_latest IS 'The outcome of an event with the highest implied YES mid. Ask for one event_ticker.';
COMMENT ON COLUMN event_leader_latest.event_ticker IS 'The event that the market is an outcome of.';
COMMENT ON COLUMN event_leader_latest.implied_yes_mid IS 'Middle of the best YES bid and ask, in dollars: the greatest of the event.';
COMMENT ON COLUMN event_leader_latest.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN event_leader_latest.strike_period IS 'Of the event: hour, day, week ..., in the exchange''s words.';
COMMENT ON COLUMN event_leader_latest.strike_date IS 'Of the event: the date that it is about.';
COMMENT ON COLUMN event_leader_latest.yes_sub_title IS 'What YES stands for.';
COMMENT ON COLUMN event_leader_latest.status IS 'The exchange''s word: initialized, active, inactive, closed, determined, disputed, amended or finalized.';
COMMENT ON COLUMN event_leader_latest.result IS 'yes, no or scalar once the market is determined; empty before.';
COMMENT ON COLUMN event_leader_latest.yes_bid IS 'Best YES bid, dollars.';
COMMENT ON COLUMN event_leader_latest.yes_ask IS 'Best YES ask, dollars.';
COMMENT ON COLUMN event_leader_latest.price IS 'Last price, dollars.';
COMMENT ON COLUMN event_leader_latest.volume IS 'Contracts traded since the market opened.';
COMMENT ON COLUMN event_leader_latest.open_interest IS 'Contracts held.';
COMMENT ON COLUMN event_leader_latest.exchange_ts IS 'Time of the latest tick.';

CREATE VIEW lifecycle_events AS
SELECT m.ticker, l.event_type, l.exchange_ts, l.payload, l.received_at
  FROM store.lifecycle l JOIN store.markets m USING (market);
COMMENT ON VIEW lifecycle_events IS 'Lifecycle messages; equal content within 30 s is one event.';
COMMENT ON COLUMN lifecycle_events.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN lifecycle_events.event_type IS 'created, activated, deactivated, close_date_updated, determined, settled ...';
COMMENT ON COLUMN lifecycle_events.exchange_ts IS 'Time that the message gives; null: it gives none.';
COMMENT ON COLUMN lifecycle_events.payload IS 'The message.';
COMMENT ON COLUMN lifecycle_events.received_at IS 'When the first stored copy was received, by that gatherer''s clock.';

CREATE VIEW coverage AS
SELECT t.ticker, t.channel, t.first_seen,
       coalesce((SELECT least(upper(r), t.ended_at) FROM unnest(x.tiles) r
                  WHERE upper(r) > t.first_seen AND (lower(r) <= t.first_seen OR t.channel = 'orderbook_delta')
                  ORDER BY lower(r) LIMIT 1), t.first_seen) AS sealed_until,
       t.ended_at
  FROM store.time_lines t LEFT JOIN store.tiled x ON x.market = t.line AND x.channel = t.channel;
COMMENT ON VIEW coverage IS 'Up to sealed_until, every stretch of the market''s time line is covered or listed in coverage_gaps.';
COMMENT ON COLUMN coverage.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN coverage.channel IS 'orderbook_delta, trade, market_lifecycle_v2 or multivariate_market_lifecycle.';
COMMENT ON COLUMN coverage.first_seen IS 'Begin of the market''s time line: the later of its opening and the fleet''s first moment.';
COMMENT ON COLUMN coverage.ended_at IS 'End of the time line, once the market is settled; null: it goes on.';
COMMENT ON COLUMN coverage.sealed_until IS 'Up to here every stretch is covered, or listed in coverage_gaps.';

CREATE VIEW coverage_by_gatherer AS
SELECT t.ticker, t.channel, g.gatherer_id, range_agg(tstzrange(c.from_ts, c.to_ts)) AS held
  FROM store.claims c
  JOIN store.time_lines t ON t.line = c.market AND t.channel = c.channel
  JOIN store.gatherers g USING (gatherer)
 GROUP BY t.ticker, t.channel, g.gatherer_id;
COMMENT ON VIEW coverage_by_gatherer IS 'The exchange time in which each gatherer provably holds everything.';
COMMENT ON COLUMN coverage_by_gatherer.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN coverage_by_gatherer.channel IS 'orderbook_delta, trade, market_lifecycle_v2 or multivariate_market_lifecycle.';
COMMENT ON COLUMN coverage_by_gatherer.gatherer_id IS 'The gatherer''s name.';
COMMENT ON COLUMN coverage_by_gatherer.held IS 'Stretches of exchange time in which this gatherer provably holds everything.';

CREATE VIEW coverage_gaps AS
SELECT t.ticker, g.channel, greatest(g.started_at, t.first_seen) AS started_at,
       least(g.ended_at, coalesce(t.ended_at, g.ended_at)) AS ended_at, g.reason,
       CASE WHEN g.channel = 'orderbook_delta' AND g.reason <> 'before_subscription'
            THEN store.book_equal(g.market, g.started_at, g.ended_at) END AS book_equal,
       coalesce(g.healed_at, g.refilled_at) AS healed_at, g.had,
       CASE WHEN g.healed_at IS NOT NULL THEN 'copy' WHEN g.refilled_at IS NOT NULL THEN 'rest' END AS healed_by
  FROM store.gaps g JOIN store.time_lines t ON t.line = g.market AND t.channel = g.channel
 WHERE g.ended_at > t.first_seen AND g.started_at < coalesce(t.ended_at, 'infinity')
UNION ALL
SELECT ticker, 'orderbook_delta', started_at, ended_at, 'before_subscription', NULL, NULL, '{}', NULL FROM store.beginnings;
COMMENT ON VIEW coverage_gaps IS 'Stretches of exchange time that no copy provably recorded. healed_at: a late copy covered it after all, or REST listed its trades (healed_by). A market''s first stretch before its first book (before_subscription) follows from coverage, and shrinks if an earlier copy comes.';
COMMENT ON COLUMN coverage_gaps.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN coverage_gaps.channel IS 'orderbook_delta, trade, market_lifecycle_v2 or multivariate_market_lifecycle.';
COMMENT ON COLUMN coverage_gaps.started_at IS 'Begin, exchange time, inclusive.';
COMMENT ON COLUMN coverage_gaps.ended_at IS 'End, exclusive.';
COMMENT ON COLUMN coverage_gaps.reason IS 'before_subscription, not_recorded, conflict, quarantined, step_back or dropped_unread.';
COMMENT ON COLUMN coverage_gaps.book_equal IS 'Whether the books before and after are equal, which proves nothing of what was between; null: not known.';
COMMENT ON COLUMN coverage_gaps.healed_at IS 'When a late copy or the exchange''s own list filled it; null: open.';
COMMENT ON COLUMN coverage_gaps.had IS 'Why each gatherer''s last run before it ended, by production''s number of the gatherer.';
COMMENT ON COLUMN coverage_gaps.healed_by IS 'copy: a gatherer had it after all. rest: the exchange''s list of trades.';

CREATE VIEW unplaced_deltas AS
SELECT g.gatherer_id, u.session, u.sid, u.seq, m.ticker, u.exchange_ts, nullif(u.exchange_us, -1) AS exchange_us,
       CASE u.side WHEN 0 THEN 'yes' ELSE 'no' END AS side, u.price * 0.0001 AS price, u.delta * 0.01 AS delta,
       u.received_at,
       'recording began in the middle of its millisecond, and no copy that covers it has confirmed it' AS reason
  FROM store.unplaced u JOIN store.markets m USING (market) JOIN store.gatherers g USING (gatherer);
COMMENT ON VIEW unplaced_deltas IS 'Changes whose ordinal is unknown. They may repeat stored rows or each other; never guessed into place.';
COMMENT ON COLUMN unplaced_deltas.gatherer_id IS 'The gatherer''s name.';
COMMENT ON COLUMN unplaced_deltas.session IS 'The WebSocket connection''s number at that gatherer.';
COMMENT ON COLUMN unplaced_deltas.sid IS 'The exchange''s number of the subscription within the session.';
COMMENT ON COLUMN unplaced_deltas.seq IS 'The frame''s number within the subscription.';
COMMENT ON COLUMN unplaced_deltas.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN unplaced_deltas.exchange_ts IS 'Time of the exchange, whole milliseconds.';
COMMENT ON COLUMN unplaced_deltas.exchange_us IS 'Microseconds within the millisecond; null where the exchange sends none.';
COMMENT ON COLUMN unplaced_deltas.side IS 'yes or no; prices of side no are NO prices.';
COMMENT ON COLUMN unplaced_deltas.price IS 'Price of the level in dollars.';
COMMENT ON COLUMN unplaced_deltas.delta IS 'Signed size, contracts.';
COMMENT ON COLUMN unplaced_deltas.received_at IS 'When the first stored copy was received, by that gatherer''s clock.';
COMMENT ON COLUMN unplaced_deltas.reason IS 'Why it has no place.';

CREATE VIEW merge_conflicts AS
SELECT c.conflict, c.kind, m.ticker, c.exchange_ts, c.versions, c.seen_at
  FROM store.conflicts c JOIN store.markets m USING (market);
COMMENT ON VIEW merge_conflicts IS 'Copies that contradict each other, with all versions.';
COMMENT ON COLUMN merge_conflicts.conflict IS 'Number of the row.';
COMMENT ON COLUMN merge_conflicts.kind IS 'order_disputed, conflict, head, reset_disputed, trade ...';
COMMENT ON COLUMN merge_conflicts.ticker IS 'The market''s ticker, as the exchange writes it.';
COMMENT ON COLUMN merge_conflicts.exchange_ts IS 'Time of the exchange, whole milliseconds.';
COMMENT ON COLUMN merge_conflicts.versions IS 'What each side has, as JSON, in integers of 1e-4 dollar and 1e-2 contract.';
COMMENT ON COLUMN merge_conflicts.seen_at IS 'When the merge saw it.';

CREATE VIEW quarantine AS
SELECT g.gatherer_id, q.session, q.sid, q.seq, q.reason, q.received_at, q.frame
  FROM store.quarantine q JOIN store.gatherers g USING (gatherer);
COMMENT ON VIEW quarantine IS 'Frames that could not become rows, as received.';
COMMENT ON COLUMN quarantine.gatherer_id IS 'The gatherer''s name.';
COMMENT ON COLUMN quarantine.session IS 'The WebSocket connection''s number at that gatherer.';
COMMENT ON COLUMN quarantine.sid IS 'The exchange''s number of the subscription within the session.';
COMMENT ON COLUMN quarantine.seq IS 'The frame''s number within the subscription.';
COMMENT ON COLUMN quarantine.reason IS 'What is wrong with it.';
COMMENT ON COLUMN quarantine.received_at IS 'When it was received.';
COMMENT ON COLUMN quarantine.frame IS 'The frame, as received.';

CREATE VIEW checks AS SELECT hour, check_name, compared, failed, examples, checked_at FROM store.checks;
COMMENT ON VIEW checks IS 'What each exported hour was checked for: how much was compared, and how much contradicts the promise.';
COMMENT ON COLUMN checks.hour IS 'Beginning of the hour, time of the exchange.';
COMMENT ON COLUMN checks.check_name IS 'books: the changes between two books lead from the one to the other. trades: each trade has its change of the book, and its ordinal. rest_books: REST gave a book that the changes went through.';
COMMENT ON COLUMN checks.compared IS 'How many were compared; what lies across a gap or near a reset is not.';
COMMENT ON COLUMN checks.failed IS 'How many of them contradict.';
COMMENT ON COLUMN checks.examples IS 'The first contradictions: a JSON array of {ticker, exchange_ts}.';
COMMENT ON COLUMN checks.checked_at IS 'When the hour was read.';

CREATE VIEW set_aside AS SELECT kind, key, reason, first_at, last_at, tries, retry_at FROM store.set_aside;
COMMENT ON VIEW set_aside IS 'What the deduplicator could not use, each alone, and why. It tries them again.';
COMMENT ON COLUMN set_aside.kind IS 'What it is: a gap of trades, a trade of REST, an hour of the archive, a row of metadata ...';
COMMENT ON COLUMN set_aside.key IS 'Which one.';
COMMENT ON COLUMN set_aside.reason IS 'Why it failed the last time.';
COMMENT ON COLUMN set_aside.first_at IS 'When it failed first.';
COMMENT ON COLUMN set_aside.last_at IS 'When it failed last.';
COMMENT ON COLUMN set_aside.tries IS 'How often it failed.';
COMMENT ON COLUMN set_aside.retry_at IS 'From when on it is tried again.';
