"""`fleet doctor` and `fleet verify`: what is wrong, and what mends it."""
