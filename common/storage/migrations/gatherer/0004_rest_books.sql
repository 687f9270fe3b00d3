-- Books as REST gave them, each compared with the folded book at every instant of its request.
CREATE TABLE rest_books (
    lane smallint NOT NULL, batch bigint NOT NULL,
    market bigint NOT NULL, requested_us bigint NOT NULL, answered_us bigint NOT NULL, agrees smallint NOT NULL,
    yes bigint[] NOT NULL, no bigint[] NOT NULL, stored_at timestamptz NOT NULL
);
COMMENT ON COLUMN rest_books.agrees IS '1: the folded book was the same at an instant of the request; 0: at none; -1: not comparable.';
COMMENT ON COLUMN rest_books.no IS 'Price, size ...: NO prices; units of 1e-4 dollar and 1e-2 contract, best first.';
CREATE INDEX ON rest_books (batch);

DO $do$
BEGIN
    IF storage_engine() = 'timescaledb' THEN
        PERFORM create_hypertable('rest_books', 'stored_at', chunk_time_interval => interval '1 hour',
                                  create_default_indexes => false);
        ALTER TABLE rest_books SET (timescaledb.compress, timescaledb.compress_orderby = 'market, answered_us');
    ELSE
        ALTER TABLE rest_books RENAME TO rest_books_before;
        CREATE TABLE rest_books (LIKE rest_books_before INCLUDING ALL) PARTITION BY RANGE (stored_at);
        DROP TABLE rest_books_before;
    END IF;
    INSERT INTO partitioned_tables VALUES ('rest_books', 'market, answered_us');
END
$do$;
