"""How far each number goes that identifies a change, or that it carries, and how many bits that takes. Pure.

An identity is (market, exchange millisecond, ordinal). The merge has no last ordinal (rule 20), so that none is refused
in memory; what stores one has these limits, and raises beyond them.
"""

from __future__ import annotations

from typing import Final

from common.numbers import HOUR_MS, PRICE_UNITS_MAX, SIZE_UNITS_MAX

UNKNOWN_ORDINAL: Final = -1
ORDINAL_MAX: Final = (1 << 31) - 1
"""Of a column. As a place: after every change of its millisecond."""
ARCHIVED_ORDINAL_BITS: Final = 20
"""In an hour's sort keys: a million changes of a market in one millisecond, fifty times the levels that a book has."""
HOUR_BITS: Final = HOUR_MS.bit_length()
"""For a millisecond of an hour."""
KEY_BITS: Final = 63
"""Of a packed key that is a signed integer, and not negative."""

PRICE_BITS: Final = PRICE_UNITS_MAX.bit_length()
SIDE_BITS: Final = 1
SIZE_BITS: Final = (SIZE_UNITS_MAX - 1).bit_length()
"""Of a size without its sign; side, price and signed size fit into one integer of 64 bits."""

GATHERERS_MAX: Final = 16
"""Gatherers that are read at the same time: one bit each in what holds a row."""
SID_MAX: Final = (1 << 31) - 1
SEQ_MAX: Final = (1 << 62) - 1
"""The exchange's numbers of a subscription and of its messages; what is greater is no number."""
NEVER_MS: Final = 1 << 62
"""A time that no exchange time reaches: what begins then claims nothing."""
