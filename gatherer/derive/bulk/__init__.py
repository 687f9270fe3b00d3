"""The same rows as the derivation's, many at once. How, and why the same: docs/architecture/derive.md. Pure."""
