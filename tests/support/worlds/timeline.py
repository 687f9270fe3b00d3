"""Virtual time: what is due, in order."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Timeline:
    """A clock that jumps to whatever is due next."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, ms: int, action: Callable[[], None]) -> None:
        """Do something at a time; of one time, in the order in which it was asked for."""
        self._count += 1
        heapq.heappush(self._due, (max(ms, self.now_ms), self._count, action))

    def after(self, wait_ms: int, action: Callable[[], None]) -> None:
        """Do something after a wait."""
        self.at(self.now_ms + wait_ms, action)

    def run_until(self, end_ms: int) -> None:
        """Let time pass, up to and with a millisecond."""
        while self._due and self._due[0][0] <= end_ms:
            self.now_ms, _, action = heapq.heappop(self._due)
            action()
        self.now_ms = end_ms

    def jump(self, ms: int) -> None:
        """Nothing is done until much later: what was due before is not done at all."""
        self._due.clear()
        self.now_ms = ms
