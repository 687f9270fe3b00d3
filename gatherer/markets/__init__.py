"""Which markets there are, and their books by REST."""
