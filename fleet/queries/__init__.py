"""Named queries on production and on the archive, and statements of one's own."""
