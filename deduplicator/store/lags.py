"""How long changes took, from the exchange to each gatherer and to production: counted by hour and by powers of two.

A lag is the difference of two clocks, so what took less than nothing shows a clock that is late.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from common.distinct import distinct
from common.numbers import HOUR_MS

I64 = npt.NDArray[np.int64]
PRODUCTION: Final = 0  # gatherers' numbers begin with 1
AHEAD: Final = -1
LONGEST: Final = (1 << 31) - 1


class Lag(NamedTuple):
    """Changes of one hour that took `from_ms` to less than twice that, in milliseconds."""

    hour_ms: int
    gatherer: int
    from_ms: int
    changes: int
    least_ms: int
    most_ms: int


class Lags:
    """What was counted since the last `take`."""

    def __init__(self) -> None:
        self._counted: dict[tuple[int, int, int], Lag] = {}

    def add(self, gatherer: int, exchange_ms: I64, until_ms: I64 | int) -> None:
        """Changes of these times, which were there at `until_ms`."""
        if not len(exchange_ms):
            return
        lag = np.clip(until_ms - exchange_ms, -LONGEST, LONGEST)
        hour = exchange_ms // HOUR_MS
        power = np.where(lag > 0, np.frexp(lag.astype(np.float64))[1], np.where(lag < 0, -1, 0))
        for key in distinct(hour * 64 + power + 1).tolist():
            these = lag[hour * 64 + power + 1 == key]
            exponent = key % 64 - 1
            from_ms = AHEAD if exponent < 0 else (1 << exponent) >> 1
            self._join(Lag(key // 64 * HOUR_MS, gatherer, from_ms, len(these), int(these.min()), int(these.max())))

    def _join(self, new: Lag) -> None:
        known = self._counted.get(new[:3])
        if known is not None:
            changes, least, most = known[3:]
            new = Lag(*new[:3], changes + new.changes, min(least, new.least_ms), max(most, new.most_ms))
        self._counted[new[:3]] = new

    def take(self) -> list[Lag]:
        """All that was counted."""
        counted, self._counted = list(self._counted.values()), {}
        return counted


def percentile(counted: list[tuple[int, int, int]], share: float) -> int:
    """The lag below which that share of changes stayed, as the end of its stretch; of (from_ms, changes, most_ms)."""
    left = share * sum(changes for _, changes, _ in counted)
    end = 0
    for from_ms, changes, most_ms in sorted(counted):
        end = min(most_ms, max(2 * from_ms, from_ms + 1))
        left -= changes
        if left <= 0:
            break
    return end
