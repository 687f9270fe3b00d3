-- What each exported hour was checked for (rule 8 of the merge), and the relation that shows it.
CREATE TABLE store.checks (
    hour       timestamptz NOT NULL,
    check_name text NOT NULL,
    compared   bigint NOT NULL,
    failed     bigint NOT NULL,
    examples   jsonb NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (hour, check_name)
);
COMMENT ON TABLE store.checks IS 'The checks of each hour, as of its last export while its changes were in production.';

CREATE VIEW checks AS SELECT hour, check_name, compared, failed, examples, checked_at FROM store.checks;
COMMENT ON VIEW checks IS 'What each exported hour was checked for: how much was compared, and how much contradicts the promise.';
COMMENT ON COLUMN checks.hour IS 'Beginning of the hour, time of the exchange.';
COMMENT ON COLUMN checks.check_name IS 'books: the changes between two books lead from the one to the other. trades: each trade has its change of the book.';
COMMENT ON COLUMN checks.compared IS 'How many were compared; what lies across a gap or near a reset is not.';
COMMENT ON COLUMN checks.failed IS 'How many of them contradict.';
COMMENT ON COLUMN checks.examples IS 'The first contradictions: a JSON array of {ticker, exchange_ts}.';
COMMENT ON COLUMN checks.checked_at IS 'When the hour was read.';
