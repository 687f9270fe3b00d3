"""What was looked up lately, so that it is not asked for again; what nobody asked for in a while leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")
FOR_S: Final = 300.0


class Recent(Generic[K, V]):
    """A dictionary in two generations: an entry leaves when it was not wanted for `for_s` to twice that.

    A hundred markets are born every second, and as many end: what was ever looked up does not fit in memory.
    """

    def __init__(self, for_s: float = FOR_S, now: Callable[[], float] = time.monotonic) -> None:
        self._for_s, self._now = for_s, now
        self.clear()

    def clear(self) -> None:
        """All of it leaves."""
        self._before: dict[K, V] = {}
        self.current: dict[K, V] = {}
        """Holds what was wanted last, if it was not missing."""
        self._since_s = self._now()

    def missing(self, wanted: set[K]) -> set[K]:
        """What is to be looked up: the others of `wanted` are in `current` afterwards."""
        if not 0 <= self._now() - self._since_s < self._for_s:
            self._before, self.current, self._since_s = self.current, {}, self._now()
        left = wanted - self.current.keys()
        found = left & self._before.keys()
        self.current.update((key, self._before[key]) for key in found)
        return left - found

    def update(self, found: Mapping[K, V]) -> None:
        """What was looked up."""
        self.current.update(found)
