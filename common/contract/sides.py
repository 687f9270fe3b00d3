"""The sides of a market, as numbers where many are stored, and as the exchange writes them. Pure."""

from __future__ import annotations

from typing import Final

YES: Final = 0
NO: Final = 1
SIDES: Final = ("yes", "no")
"""By number."""
NUMBERS: Final = {name: number for number, name in enumerate(SIDES)}
TAKERS: Final = {**NUMBERS, "bid": YES, "ask": NO}
"""Of a trade: the taker bought this side. In the book's words, a bidder buys YES, and an asker buys NO."""
