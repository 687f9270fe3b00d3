"""Sums over the last so many seconds, as differences of running totals.

A bar is a second in which something happened, with the totals at its end. A window of W seconds at second s covers
[s - W, s): the totals now, less those of the last bar before s - W. Nothing is added up twice, and a restart of the
totals (after a gap) is a restart of every window.
"""

from __future__ import annotations

from operator import sub
from typing import Final

import msgspec

WINDOWS_S: Final = (1, 10, 60, 300, 3600)
"""The windows that signals may ask for."""
_TRIM_BARS: Final = 4096
NEVER: Final = 1 << 62
Sums = dict[int, tuple[int, ...]]


class RunningTotals(msgspec.Struct):
    """Running totals of one stretch without a gap.

    `since_ms`: the beginning of the stretch; NEVER while nothing is known. `now`: the totals. `seconds`, `bars`: of
    each second with something in it the totals at its end. `first`: of each window, its first bar.
    """

    width: int
    since_ms: int = NEVER
    now: list[int] = []
    seconds: list[int] = []
    bars: list[list[int]] = []
    first: list[int] = []
    marked: bool = False
    """Whether the totals are others than at the last `close`."""

    def start(self, since_ms: int) -> None:
        """A stretch begins, with nothing."""
        self.since_ms = since_ms
        self.now = [0] * self.width
        self.seconds, self.bars = [-(-since_ms // 1000) - 1], [self.now.copy()]
        self.first = [0] * len(WINDOWS_S)
        self.marked = True

    def stop(self) -> None:
        """Nothing is known from here on."""
        self.since_ms = NEVER
        self.now, self.seconds, self.bars, self.first = [], [], [], []

    def mark(self, second: int) -> None:
        """What the totals are at the end of this second, so far."""
        if self.bars[-1] == self.now:
            return
        self.marked = True
        if self.seconds[-1] >= second:
            self.bars[-1] = self.now.copy()
        else:
            self.seconds.append(second)
            self.bars.append(self.now.copy())

    def due(self) -> int:
        """The first second after the last `close` at which a window holds something else, if nothing more happens."""
        if self.since_ms == NEVER:
            return NEVER
        seconds, first = self.seconds, self.first
        return min(
            [seconds[at] + 1 + window for window, at in zip(WINDOWS_S, first, strict=True) if at < len(seconds)],
            default=NEVER,
        )

    def close(self, second: int, before: Sums | None) -> Sums | None:
        """It is this second: what is too old leaves. By window its sums; None where nothing is known.

        `before`, the sums of the last second, is what is returned if nothing came and nothing left.
        """
        if self.since_ms > second * 1000:
            return None
        if before is not None and not self.marked and self.due() > second:
            return before
        self.marked = False
        seconds, bars, now = self.seconds, self.bars, self.now
        sums = {}
        for number, window in enumerate(WINDOWS_S):
            at, begins = self.first[number], second - window
            while at < len(seconds) and seconds[at] < begins:
                at += 1
            self.first[number] = at
            sums[window] = tuple(map(sub, now, bars[at - 1])) if at else tuple(now)
        if self.first[-1] > _TRIM_BARS:
            self._trim(self.first[-1] - 1)
        return sums

    def _trim(self, dropped: int) -> None:
        """Bars that no window needs again."""
        del self.seconds[:dropped], self.bars[:dropped]
        self.first = [at - dropped for at in self.first]

    def holds(self, second: int, window: int, open_ms: int) -> bool:
        """Whether the window lies within the stretch; before the market opened there is nothing to miss."""
        return self.since_ms <= max((second - window) * 1000, open_ms)
