"""The gatherers as bits: machines are replaced for ever, and bits are few."""

from __future__ import annotations

from common.contract.identity import GATHERERS_MAX
from deduplicator.merge.identity import StoreFull


class Bits(dict[int, int]):
    """By gatherer, its bit in holders and voices."""

    @property
    def all(self) -> int:
        """Everybody's."""
        return sum(self.values())

    @property
    def full(self) -> bool:
        """Whether a newer one takes an older one's."""
        return len(self) >= GATHERERS_MAX

    def gatherers(self, bits: int) -> set[int]:
        """Whose these are."""
        return {gatherer for gatherer, bit in self.items() if bit & bits}

    def give(self, gatherer: int, needed: set[int]) -> int:
        """Give a bit to a gatherer that has none. If none is free, the oldest one that is not needed gives up its own:
        returns that, else 0. What ended runs of the old one hold is not asked any more then."""
        free = [1 << n for n in range(GATHERERS_MAX) if 1 << n not in self.values()]
        if free:
            self[gatherer] = free[0]
            return 0
        over = min(self.keys() - needed, default=None)
        if over is None:
            raise StoreFull(f"more than {GATHERERS_MAX} gatherers are read at the same time")
        bit = self[gatherer] = self.pop(over)
        return bit
