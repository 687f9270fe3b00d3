"""Planted faults: each is planted alone in a copy of the tree, and the quick tests named for it must find it.

fault      what a planted fault is
faults     the table, by area: the part of the code that is broken
planting   a copy of the tree, and a fault in it
report     what became of each, and the table of it
"""
