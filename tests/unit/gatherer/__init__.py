"""Of `gatherer`."""
