"""Of `deduplicator`."""
