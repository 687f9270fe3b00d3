"""Of `common`."""
