"""The same rows as the derivation's, many at once. Pure."""
