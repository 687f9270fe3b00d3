"""On a real PostgreSQL, in one process."""
