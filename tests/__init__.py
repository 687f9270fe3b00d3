"""Unit, database, fleet and tools: what each needs is said in its folder."""
