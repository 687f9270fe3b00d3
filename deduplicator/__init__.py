"""Three recordings become one history: the merge, the production writer, the archive."""
