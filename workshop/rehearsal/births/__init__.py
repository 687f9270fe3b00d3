"""Births: combos that are born and settle by the hundred each second beside an event history without an end."""
