"""Of `signals`."""
