"""The exact merge. Pure: columns in, columns out; time is an input; no clock, network or database.

copies      what is merged, one gatherer's rows of some batches; and what is decided
dropped     batches whose rows went unread
intervals   half-open stretches of integer time, their union and difference
identity    (market, millisecond, ordinal) packed into one integer, and the store of recent ones
numbering   slots of the packing
bits        the gatherers as bits
union       rules 2 and 3: first copy of an identity is new, the others confirm or contradict
groups      rows of a step by market and millisecond
disputes    rule 3 for one group: versions, majorities
voices      what each gatherer has of a group, and what follows for its claims
judging     the contradictions of one step
absence     rule 14: what a copy covers and has not
joining     rules 1 to 3 and 14 of a step
coverage    rule 5: what is provably held, per market; gaps are the complement
settling    rules 5 to 7: how a time line advances
slices      how far each slice is proven complete
runs        runs that are open, and guests
exclusions  rule 3: runs that give nothing until they are readmitted
lines       the time lines of all markets, and which are looked at
waits       what they wait for
covered     which gatherer covers what: questions to the time lines
claims      slices, runs and time lines, as production mirrors them
heads       rule 4: rows with unknown ordinals against a copy that covers their group
resets      rule 9: votes on books that were replaced without changes
books       rules 8 and 9: what the snapshots of a step prove
twins       each trade and its change
merger      all of it, over one state
"""
