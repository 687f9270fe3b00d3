"""What a rehearsal does to a gatherer's processes from within: their clock is moved by what a file holds (nanoseconds),
and their journal's disk is full while a file is there. On the path in rehearsals only."""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path

if any("gatherer" in part for part in sys.orig_argv[1:3]):
    if clock := os.environ.get("FLEET_CLOCK_FILE"):
        real_ns, real_s = time.time_ns, time.time
        moved = Path(clock)

        def offset_ns() -> int:
            """How far the clock has been set."""
            try:
                return int(moved.read_text() or 0)
            except FileNotFoundError:
                return 0

        time.time_ns = lambda: real_ns() + offset_ns()
        time.time = lambda: real_s() + offset_ns() * 1e-9

    if disk := os.environ.get("FLEET_DISK_FILE"):
        real_writev = os.writev
        full = Path(disk)

        def writev(fd: int, buffers: list[bytes]) -> int:
            """A disk without room takes the beginning, then nothing."""
            if not full.exists():
                return real_writev(fd, buffers)
            real_writev(fd, [bytes(buffers[0])[: len(buffers[0]) // 2]])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        os.writev = writev  # type: ignore[assignment]
