"""Reading the gatherers' databases, in the order of their logs."""
