"""From journal records to rows: slices, runs, ordinals, coverage, books. Pure: no clock, no files, no database."""
