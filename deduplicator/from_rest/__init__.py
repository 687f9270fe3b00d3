"""What comes from the exchange's REST, and not from its streams."""
