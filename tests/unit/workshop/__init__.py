"""Of `workshop`."""
