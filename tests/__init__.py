"""Unit, database, fleet and tools: what each needs is in its folder's docstring."""
