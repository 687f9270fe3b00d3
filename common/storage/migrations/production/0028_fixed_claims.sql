-- A run that has its say back claims from there on: whether it may come to begin earlier is a fact of its own, not a reason.
ALTER TABLE store.runs ADD COLUMN fixed boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN store.runs.fixed IS 'Its claim begins at cover_from and never earlier: it was readmitted there, and what came before was passed over.';
UPDATE store.runs SET fixed = true, reason = '' WHERE reason = 'readmitted';
