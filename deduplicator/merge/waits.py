"""Markets that wait for a moment each: for a time of the clock, or for the horizon of a slice to come so far.

There may be as many as markets, and they may wait for days: until the least of the moments nobody looks at them.
"""

from __future__ import annotations

from typing import Final

NEVER: Final = 1 << 62


class Waits:
    """By market the earliest moment that it waits for."""

    __slots__ = ("_least", "_moments")

    def __init__(self) -> None:
        self._moments: dict[int, int] = {}
        self._least = NEVER

    def __len__(self) -> int:
        return len(self._moments)

    def wait(self, market: int, moment: int) -> None:
        """It is due at this moment, or at an earlier one that it waits for already."""
        if moment < self._moments.get(market, NEVER):
            self._moments[market] = moment
            self._least = min(self._least, moment)

    def due(self, now: int) -> list[int]:
        """Those whose moment has come; they wait no longer."""
        if now < self._least:
            return []
        due = [market for market, moment in self._moments.items() if moment <= now]
        for market in due:
            del self._moments[market]
        self._least = min(self._moments.values(), default=NEVER)
        return due
