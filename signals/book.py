"""The book of a market as changes are folded into it, and its best levels, kept as it changes.

How a change adds to a level is `common.levels.add`, for everybody. Here is only what makes the best levels cheap: each
side's prices in order, its total, and whether a change came as near as the levels that are looked at.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import Final

import msgspec

from common import levels
from common.contract.sides import NO, YES

LEVELS: Final = 5
"""So many best levels of a side are looked at."""
CAME_OR_WENT: Final = 4

Top = list[tuple[int, int]]
"""The best levels of a side, best first: price and size."""


class Side(msgspec.Struct):
    """The prices of a side that have a size, lowest first; their sizes' sum; the price of the last level looked at."""

    prices: list[int] = []
    total: int = 0
    floor: int = -1


class FoldedBook(msgspec.Struct):
    """A book: `levels` as `common.levels` has it, and both sides' prices."""

    levels: levels.Book = {}
    yes: Side = msgspec.field(default_factory=Side)
    no: Side = msgspec.field(default_factory=Side)

    def replace(self, book: Iterable[tuple[int, int]]) -> None:
        """It is this one now."""
        self.levels = dict(book)
        for number, side in ((YES, self.yes), (NO, self.no)):
            keys = [key for key in self.levels if key & 1 == number]
            side.prices = sorted(key >> 1 for key in keys)
            side.total = sum(self.levels[key] for key in keys)
            side.floor = side.prices[-LEVELS] if len(side.prices) >= LEVELS else -1

    def change(self, key: int, delta: int) -> int:
        """Add to a level: 1 if it is one of the best of YES, 2 for NO; 4 more if it came or went; 0 if nobody looks at
        it; -1 for a book that is impossible, with a level below nothing."""
        size = levels.add(self.levels, key, delta)
        side = self.no if key & 1 else self.yes
        price = key >> 1
        side.total += delta
        shape = 0
        if size == delta:
            if size:
                insort(side.prices, price)
                shape = CAME_OR_WENT
        elif not size:
            del side.prices[bisect_left(side.prices, price)]
            shape = CAME_OR_WENT
        if size < 0:
            return -1
        return 0 if price < side.floor else 1 + (key & 1) + shape

    def top(self, number: int) -> Top:
        """The best levels of a side."""
        side = self.no if number else self.yes
        prices = side.prices[: -LEVELS - 1 : -1]
        side.floor = prices[-1] if len(prices) == LEVELS else -1
        sizes = self.levels
        return [(price, sizes[2 * price + number]) for price in prices]
