"""The clock of a gatherer's processes, moved by what a file says (nanoseconds). On the path in rehearsals only."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

if any("gatherer" in part for part in sys.orig_argv[1:3]):
    real_ns, real_s = time.time_ns, time.time
    moved = Path(os.environ["FLEET_CLOCK_FILE"])

    def offset_ns() -> int:
        """How far the clock has been set."""
        try:
            return int(moved.read_text() or 0)
        except FileNotFoundError:
            return 0

    time.time_ns = lambda: real_ns() + offset_ns()
    time.time = lambda: real_s() + offset_ns() * 1e-9
