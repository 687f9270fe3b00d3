"""One availability zone's recorder: registry, connections, journal, loader."""
