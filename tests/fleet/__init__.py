"""Real processes: gatherers, deduplicators, whole fleets."""
