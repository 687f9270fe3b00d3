"""How often something is sent on a connection, whatever the exchange answers. Pure.

A `Budget` bounds all commands together. A `Patience` is the wait of one thing that failed: it doubles while that lasts.
Neither forgets anything; what may not be sent now is sent later.
"""

from __future__ import annotations

from typing import Final

AT_ONCE: Final = 120
"""Commands that may be sent in one go, when few were sent before."""
RESERVE: Final = 20
"""So many are left to commands that change something: proofs are asked for with the others."""


class Budget:
    """So many commands at once, then `per_s`; and what the fleet itself wants (markets by the batch) in addition."""

    def __init__(self, per_s: float) -> None:
        self._per_s, self._left, self._at_s = per_s, float(AT_ONCE), 0.0

    def grant(self, commands: float) -> None:
        """The fleet wants something that takes so many commands."""
        self._left += commands

    def take(self, now_s: float, reserve: int = 0) -> bool:
        """Whether one command may be sent now; it is then counted."""
        earned = max(0.0, now_s - self._at_s) * self._per_s
        self._at_s = now_s
        self._left = max(self._left, min(AT_ONCE, self._left + earned))
        if self._left < 1 + reserve:
            return False
        self._left -= 1
        return True


class Patience:
    """A wait that doubles with each failure, from `first_s` to `most_s`; `free` failures cost none."""

    def __init__(self, first_s: float, most_s: float, free: int = 0) -> None:
        self._first_s, self._most_s, self._free = first_s, most_s, free
        self._failures = 0
        self._till_s = float("-inf")

    def failed(self, now_s: float) -> None:
        """It did not go well; one that is long after the last begins again with the shortest wait."""
        if now_s - self._till_s > self._most_s:
            self._failures = 0
        self._failures += 1
        doubled = self._failures - self._free - 1
        self._till_s = now_s + (0.0 if doubled < 0 else min(self._first_s * 2.0 ** min(doubled, 40), self._most_s))

    def went_well(self) -> None:
        """The next failure is the first."""
        self._failures, self._till_s = 0, float("-inf")

    def over(self, now_s: float) -> bool:
        """Whether it may be tried."""
        return now_s >= self._till_s
