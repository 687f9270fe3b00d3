"""Configuration: the schema of both files and how they are read."""
