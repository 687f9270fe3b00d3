"""The exact merge. Pure: columns in, columns out; time is an input; no clock, network or database.

intervals   half-open stretches of integer time, their union and difference
identity    (market, millisecond, ordinal) packed into one integer, and the store of recent ones
copies      what is merged: one gatherer's rows of some batches
union       rule 2 and 3: first copy of an identity is new, the others confirm or contradict
heads       rule 4: rows with unknown ordinals against a copy that covers their group
coverage    rules 5 and 6: what is provably held, per market; gaps are the complement
resets      rule 9: a book that was replaced without changes
covered     who covers what: questions to the time lines
claims      slices, runs and time lines, as production mirrors them
joining     rules 1 to 3 of a step
merger      all of it, over one state
"""
