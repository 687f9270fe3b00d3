"""Of `simulator`."""
