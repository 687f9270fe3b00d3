SELECT summarize_deltas()
