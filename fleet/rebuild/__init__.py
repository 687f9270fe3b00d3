"""History made anew from the raw archive: the frames that the gatherers received, derived and merged once more."""
