"""An exchange that answers each command at random, for hours of virtual time; the real session talks with it.

exchange   one connection as such an exchange sees it: what it answers, and the truth about it
world      the real `Session`, its journal in memory, the derivation, and what is judged of them

`python -m tests.support.answers SEED` shows one of them.
"""
