-- Books from REST that were not the folded book, or had none to be compared with; those that agreed are counted.
CREATE TABLE store.rest_books (
    market       bigint NOT NULL,
    gatherer     smallint NOT NULL REFERENCES store.gatherers,
    requested_at timestamptz NOT NULL,
    taken_at     timestamptz NOT NULL,
    agrees       smallint NOT NULL CHECK (agrees IN (0, -1)),
    yes          bigint[] NOT NULL,
    no           bigint[] NOT NULL
);
CREATE INDEX ON store.rest_books (market, taken_at);
CREATE INDEX rest_books_time ON store.rest_books USING brin (taken_at) WITH (autosummarize = on);
COMMENT ON TABLE store.rest_books IS 'Books from REST that did not agree, or could not be compared, with the gatherer that asked. They have no place among the changes.';
COMMENT ON COLUMN store.rest_books.agrees IS '0: the folded book was another at every instant of the request; -1: there was none to be compared with.';
COMMENT ON COLUMN store.rest_books.yes IS 'Price, size, price, size ...: units of 1e-4 dollar and 1e-2 contract, best bid first.';

CREATE VIEW store.rest_snapshots AS
SELECT m.ticker, NULL::timestamptz AS exchange_ts, NULL::int AS after_ordinal, r.taken_at, 'rest'::text AS source,
       store.levels(r.yes) AS yes, store.levels(r.no) AS no, CASE r.agrees WHEN 0 THEN false END AS verified, false AS is_reset
  FROM store.rest_books r JOIN store.markets m USING (market);

CREATE OR REPLACE VIEW orderbook_snapshots AS
SELECT m.ticker, s.exchange_ts, s.after_ordinal, s.taken_at, s.source,
       store.levels(s.yes) AS yes, store.levels(s.no) AS no, s.verified, s.is_reset
  FROM store.snapshots s JOIN store.markets m USING (market)
UNION ALL
SELECT ticker, exchange_ts, after_ordinal, taken_at, source, yes, no, verified, is_reset FROM store.rest_snapshots;
COMMENT ON VIEW orderbook_snapshots IS 'Books at known places: after all changes up to (exchange_ts, after_ordinal). And books from REST, which carry no place, where they did not agree with the changes or could not be compared.';
COMMENT ON COLUMN orderbook_snapshots.source IS 'ws: the exchange sent it. checkpoint: folded from changes here, so that book_at need not fold a market''s whole history. rest: asked for every snapshots.interval; no place; kept here only if it did not agree.';
COMMENT ON COLUMN checks.check_name IS 'books: the changes between two books lead from the one to the other. trades: each trade has its change of the book. rest_books: REST gave a book that the changes went through.';
