"""How much of the time a gatherer that was away may take with what it has to bring: the live ones come first.

A gatherer is late if it lags the newest by more than a bound. When all lag the same, as after an absence of the
deduplicator itself, none is late, and nothing is held back.
Pure.
"""

from __future__ import annotations

from typing import Final

AHEAD_US: Final = 60_000_000
"""A gatherer's clock may be so far ahead of ours; what is further ahead makes nobody late."""


class CatchUp:
    """`late_us`: the lag that is late; `share`: of the time, at most, if others have something to bring."""

    def __init__(self, late_us: int, share: float) -> None:
        self._late_us, self._share = late_us, share
        self._newest_us = 0
        self._next_s = 0.0

    def saw(self, received_us: int, now_us: int) -> None:
        """Frames were received by some gatherer at `received_us`; our own clock shows `now_us`."""
        self._newest_us = max(self._newest_us, min(received_us, now_us + AHEAD_US))

    def is_late(self, received_us: int) -> bool:
        """Whether what was received then comes late."""
        return self._newest_us - received_us > self._late_us

    def may(self, now_s: float) -> bool:
        """Whether something late may be merged now."""
        return now_s >= self._next_s

    def took(self, seconds: float, now_s: float) -> None:
        """Something late was merged, and took so long."""
        self._next_s = now_s + seconds * (1 / self._share - 1)
