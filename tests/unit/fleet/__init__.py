"""Of `fleet`."""
