"""How wrong the machine's clock can be, as the kernel's time service says."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES: Final = 208
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
