"""The machine's clock: how wrong it can be, as the kernel's time service reports, and the monotonic clock beside it."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from typing import Final

_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES: Final = 208
NARROW_NS: Final = 50_000
READS_MAX: Final = 20
_MAXERROR: Final = 3  # modes (padded), offset, freq, maxerror: the fourth machine word


def error_bound_us() -> int | None:
    """The kernel's bound of the clock's error in microseconds, or None where the clock is not synchronised.

    Source: adjtimex(2), read only. Without Linux nothing is known.
    """
    if sys.platform != "linux":
        return None
    buffer = (ctypes.c_long * (2 * _TIMEX_BYTES // ctypes.sizeof(ctypes.c_long)))()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(buffer))
    if state < 0 or state == _TIME_ERROR:
        return None
    return int(buffer[_MAXERROR])


def epoch_ns(wall: Callable[[], int] = time.time_ns, mono: Callable[[], int] = time.monotonic_ns) -> int:
    """What the wall clock is ahead of the monotonic one: of some reads the one that took least, within half of that."""
    narrowest, found = None, 0
    for _ in range(READS_MAX):
        before, now, after = mono(), wall(), mono()
        if narrowest is None or after - before < narrowest:
            narrowest, found = after - before, now - (before + after) // 2
        if narrowest <= NARROW_NS:
            break
    return found
