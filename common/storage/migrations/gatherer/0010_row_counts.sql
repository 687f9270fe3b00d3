-- A batch names how many rows it wrote into each table: a reader compares, and takes nothing of which a part has gone.
ALTER TABLE batches ADD COLUMN row_counts jsonb, ADD COLUMN emptied boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN batches.row_counts IS 'Its rows by table, without those of no rows (deltas: delta_rows); null: written by a release that did not count.';
COMMENT ON COLUMN batches.emptied IS 'Its rows were dropped, as every consumer had them; it stays as the place of its lane in the journal.';
