"""Storage: the embedded server, connections, migrations and binary COPY."""
