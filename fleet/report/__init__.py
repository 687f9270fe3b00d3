"""The condition of a day's data, and the quality report."""
