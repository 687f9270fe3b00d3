"""`fleet probe`: what the fleet believes of the exchange, measured on it."""
