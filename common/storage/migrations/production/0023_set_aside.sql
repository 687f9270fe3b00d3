-- One bad thing costs itself only: what was set aside, and how far each of the exchange's lists has been read.
CREATE TABLE store.set_aside (
    kind     text NOT NULL,
    key      text NOT NULL,
    reason   text NOT NULL,
    first_at timestamptz NOT NULL,
    last_at  timestamptz NOT NULL,
    tries    int NOT NULL,
    retry_at timestamptz NOT NULL,
    PRIMARY KEY (kind, key)
);
COMMENT ON TABLE store.set_aside IS 'Entries of foreign data that failed alone: tried again from retry_at on, gone once they work. At most 200 of each kind.';
COMMENT ON COLUMN store.set_aside.kind IS 'trade_gap, rest_trade, hour, day, checkpoint, list, metadata_row ...: docs/architecture/deduplicator.md has them all.';

CREATE VIEW set_aside AS SELECT kind, key, reason, first_at, last_at, tries, retry_at FROM store.set_aside;
COMMENT ON VIEW set_aside IS 'What the deduplicator could not use, each alone, and why. It tries them again.';
COMMENT ON COLUMN set_aside.kind IS 'What it is: a gap of trades, a trade of REST, an hour of the archive, a row of metadata ...';
COMMENT ON COLUMN set_aside.key IS 'Which one.';
COMMENT ON COLUMN set_aside.reason IS 'Why it failed the last time.';
COMMENT ON COLUMN set_aside.first_at IS 'When it failed first.';
COMMENT ON COLUMN set_aside.last_at IS 'When it failed last.';
COMMENT ON COLUMN set_aside.tries IS 'How often it failed.';
COMMENT ON COLUMN set_aside.retry_at IS 'From when on it is tried again.';

CREATE TABLE store.crawls (
    list      text PRIMARY KEY,
    began_at  timestamptz NOT NULL,
    cursor    text NOT NULL,
    pages     bigint NOT NULL,
    rows      bigint NOT NULL,
    whole_at  timestamptz,
    since     timestamptz
);
COMMENT ON TABLE store.crawls IS 'How far each of the exchange''s lists has been read: a reading goes on where it was, also after a restart.';
COMMENT ON COLUMN store.crawls.began_at IS 'When the reading that goes on, or the last one, began.';
COMMENT ON COLUMN store.crawls.cursor IS 'The exchange''s own name of the next page; empty: none is being read.';
COMMENT ON COLUMN store.crawls.whole_at IS 'When the last reading that reached the end of the list began: what it shows is at least as new.';
COMMENT ON COLUMN store.crawls.since IS 'From when on the reading that goes on asks for changes; null: for all.';

ALTER TABLE store.refills ADD COLUMN unread bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN store.refills.unread IS 'Listed trades that cannot be read and that nobody recorded, in the gap or at no known time; while there is one, the gap is not refilled.';
COMMENT ON COLUMN store.refills.outside IS 'Of the inserted, those that a gatherer claims to have: contradictions of coverage.';

-- A market that REST does not show as determined ends by the stream's own word.
ALTER TABLE store.lifecycle ADD COLUMN stored_at timestamptz NOT NULL DEFAULT now();
COMMENT ON COLUMN store.lifecycle.stored_at IS 'When it came here: later than received_at by what the gatherer was behind.';
CREATE INDEX lifecycle_ends ON store.lifecycle (stored_at) WHERE event_type IN ('determined', 'settled');
CREATE INDEX lifecycle_end_of ON store.lifecycle (market) WHERE event_type IN ('determined', 'settled');
