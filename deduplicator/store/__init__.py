"""Writing production: one transaction a step, one lease, one feed."""
