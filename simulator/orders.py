"""Orders on one market: they rest, are cancelled, and take what rests; the book is never crossed.

A real two-sided book is never crossed at the end of a millisecond: the best YES bid and the best NO bid add up to
less than a dollar (docs/assumptions.md). Here that holds after every order. Orders rest around a fair value that
wanders; the spread is a market's own. A sweep takes several resting orders in one instant: each is a trade, and a
change of the book that is its twin.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from simulator.market import Levels, Market
from simulator.prices import ONE, ticks

LEVELS_MAX: Final = 60
SWEEP_SHARE: Final = 0.65
"""Trades that share their millisecond with another one of their market."""
SAME_LEVEL_SHARE: Final = 0.6
FILLS_MAX: Final = 12
WANDER_SHARE: Final = 0.02
DISTANCE_TICKS: Final = 4.0
HALF_SPREADS: Final = (0, 0, 1, 1, 2, 4, 9)
SIZE_MAX: Final = 500_000

Fill = tuple[str, int, int]
"""The maker's side, its price, the count."""


class Orders:
    """What traders do to one market."""

    def __init__(self, market: Market, rng: random.Random, *, one_sided: bool = False, opening: bool = True) -> None:
        """`one_sided`: nobody bids for NO at first, and few do later; `opening`: there is a book to begin with."""
        self.market, self._rng, self._one_sided = market, rng, one_sided
        self._ticks = ticks(market.structure)
        self._fair = rng.choice((rng.randrange(len(self._ticks)), len(self._ticks) // 2))
        self._half_spread = rng.choice(HALF_SPREADS)
        for side in () if not opening else ("yes",) if one_sided else ("yes", "no"):
            for _ in range(rng.randrange(3, 25)):
                if price := self.price(side):
                    market.side(side)[price] = rng.randrange(1, SIZE_MAX)

    def side(self) -> str:
        """The side that the next order is on."""
        if self._one_sided and not self.market.no and self._rng.random() < 0.9:
            return "yes"
        return "yes" if self._rng.random() < 0.5 else "no"

    def price(self, side: str) -> int | None:
        """Where an order may rest on a side; None if the other side leaves no room."""
        fair = self._fair if side == "yes" else len(self._ticks) - 1 - self._fair
        wanted = fair - self._half_spread - int(self._rng.expovariate(1 / DISTANCE_TICKS))
        other = max(self.market.side("no" if side == "yes" else "yes"), default=0)
        room = bisect_left(self._ticks, ONE - other) - 1
        at = min(max(wanted, 0), room)
        return self._ticks[at] if at >= 0 else None

    def change(self, side: str) -> tuple[int, int] | None:
        """An order that comes or goes: its price, and the signed size."""
        rng, levels = self._rng, self.market.side(side)
        if rng.random() < WANDER_SHARE:
            self._fair = min(max(self._fair + rng.choice((-1, 1)), 0), len(self._ticks) - 1)
        if levels and (len(levels) > LEVELS_MAX or rng.random() < 0.5):
            price = rng.choice(list(levels))
            return price, -rng.choice((levels[price], rng.randrange(1, levels[price] + 1)))
        price_or_none = self.price(side)
        if price_or_none is None:
            return None
        return price_or_none, rng.choice((1, rng.randrange(1, 100), rng.randrange(100, SIZE_MAX)))

    def sweep(self, side: str) -> Iterator[Fill]:
        """One taker's order against the resting orders of a side, best first; the caller applies each fill at once."""
        rng, levels = self._rng, self.market.side(side)
        left = FILLS_MAX
        while levels and left:
            price = max(levels)
            count = _part(rng, levels, price)
            yield side, price, count
            left -= 1
            if rng.random() >= SWEEP_SHARE:
                return


def _part(rng: random.Random, levels: Levels, price: int) -> int:
    """One resting order of a level: part of its size, or all."""
    size = levels[price]
    return rng.randrange(1, size + 1) if rng.random() < SAME_LEVEL_SHARE else size
