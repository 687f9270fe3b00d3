"""History made again from the raw archive: the frames that the gatherers received, derived and merged once more."""
