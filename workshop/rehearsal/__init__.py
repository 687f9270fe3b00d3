"""Rehearsals: what can only be seen when it is done."""
