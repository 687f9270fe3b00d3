"""What every process does: end on SIGTERM, end with its parent, and wait between tries."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
KEPT_BYTES: Final = 128 << 20
AWAY_SHARE: Final = 0.1
MAPPED_FROM_BYTES: Final = 32 << 20  # glibc takes no more


def stop_event() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    return stopped


def end_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies; ends at once if it is dead already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def end_with_parent_of(parent: int) -> Callable[[], None]:
    """For a child, between fork and exec: `end_with_parent`, with everything loaded before the fork."""
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        if sys.platform == "linux":
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


@contextlib.contextmanager
def made_to_last() -> Iterator[None]:
    """While a state of millions of objects is made that lasts as long as the process, or until the next such state.

    The collector of cycles, which would look at all of them again each time their number has grown by a quarter, waits
    meanwhile, and leaves alone what is there at the end.
    """
    gc.unfreeze()
    gc.collect()  # a state before this one
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


def keep_freed_memory(arenas: int = 0) -> None:
    """Let the C library use freed memory again instead of giving it back; from so many arenas (0: as it likes).

    For a process that makes and drops columns of megabytes all the time: otherwise each is mapped again, and the kernel
    clears its pages one fault at a time, which costs more than to fill them. One arena is for a process whose threads
    take turns: what one of them has freed is of no use to the others else, and the process grows for hours. Without
    glibc nothing happens.
    """
    libc = ctypes.CDLL(None)
    if sys.platform == "linux" and hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
        if arenas:
            libc.mallopt(_M_ARENA_MAX, arenas)


def give_back_freed_memory() -> None:
    """Give the C library's freed memory back to the system: now and then, after work that is seldom.

    What a process keeps for the greatest moment of its life looks like growth else. Without glibc nothing happens.
    """
    libc = ctypes.CDLL(None)
    if sys.platform == "linux" and hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def backoff_s(first_s: float, most_s: float, seed: random.Random | None = None) -> Iterator[float]:
    """Delays between tries: none before the first, then exponential with full jitter, capped."""
    rng = seed or random.Random()
    yield 0.0
    reach = first_s
    while True:
        yield rng.uniform(0, reach)
        reach = min(reach * 2, most_s)


def away_pause_s(away_s: float, first_s: float, most_s: float) -> float:
    """How long to wait for the next look at something that has been away for so long: a tenth of it, with jitter.

    What was away for five seconds is found within `first_s` of its return, what was away for an hour within `most_s`.
    """
    return min(max(first_s, AWAY_SHARE * away_s), max(first_s, most_s)) * random.uniform(0.5, 1.0)
