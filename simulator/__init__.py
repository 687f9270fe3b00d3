"""An exchange to run against: the real protocol over real sockets, real signatures, real faults, known truth.

It shares no code with the client for anything that could be wrong in both: signing, sequence numbers and number
formats are written here a second time, from the facts.
"""
