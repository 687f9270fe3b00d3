"""What goes when space is needed, and where it goes."""
