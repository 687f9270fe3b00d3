"""Worlds on virtual time: an exchange with a known truth, gatherers that hold the real conversation with it, the real
derivation of what they recorded, and the merge of it. A seed gives one world; nothing waits or listens.

kinds      what may go wrong, each kind with its rule; which of them are on
shape      what the world of a seed is like
timeline   virtual time
exchange   markets, their changes and resets: the truth
feed       the exchange's end of one connection: numbers, answers to commands, and what it gets wrong
link       the way between: delay, loss, repeats, replays
station    one gatherer: connections with the real `Conversation`, and its journals
deriving   journals through the real `Derivation`, in any batches
memory     production, as far as the merge decides it, and the state that it gives back
merging    the real `Merger` over all copies, in any order, restarted at any instant
judges     what must be true, while it happens and at the end
world      all of it for one seed
"""
