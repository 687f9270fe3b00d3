"""When a connection may be dialled: a budget for all connections, and manners towards an exchange that refuses.

One capture's connections share one `Dialing`. While the exchange is away (a dial is refused, or not answered) one of
them dials now and then for all, often at first and more seldom the longer it lasts; when one is accepted, all others
are called at once, within the budget. A dial that is refused while sessions of others stand is no sign of that: its
connection waits for itself. A key that is refused again and again is tried by one connection at a time; while sessions
of others stand, a connection that was not refused itself dials at once. While the journal is full nobody dials. The
exchange's reported state keeps nobody from dialling.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterator
from typing import Final

from aiolimiter import AsyncLimiter

from common.process import away_pause_s

REFUSALS_TILL_SLOW: Final = 5  # a dead key answers 401 for ever; after a clock step the next signature is good
KEY_STATUSES: Final = (401, 403)


class Dialing:
    """Permission to dial."""

    def __init__(self, dials_per_s: float, slow_s: float, probe_s: float) -> None:
        """`slow_s`: how long one connection waits between two tries with a key that is refused, and at most between two
        of an exchange that is away. `probe_s`: between those at first."""
        self._limiter = AsyncLimiter(max(1.0, dials_per_s), 1.0)
        self._slow_s, self._probe_s = slow_s, probe_s
        self._open = asyncio.Event()
        self._open.set()
        self._one_at_a_time = asyncio.Lock()
        self._refusals = 0
        self.key_refused = ""
        self._back = asyncio.Event()
        self._back.set()
        self._away_since_s = 0.0
        self._next_probe_s = 0.0
        self._standing = 0
        self._probing = asyncio.Lock()

    def allow(self, allowed: bool) -> None:
        """Whether anybody may dial."""
        if allowed:
            self._open.set()
        else:
            self._open.clear()

    async def turn(self, *, refused: bool = False) -> None:
        """Wait until one dial may be made. `refused`: the key was, at this connection's last dial."""
        while True:
            await self._open.wait()
            if self._is_slow(refused=refused):
                async with self._one_at_a_time:
                    if self._is_slow(refused=refused):  # still, after those before us tried
                        await asyncio.sleep(random.uniform(self._slow_s / 2, self._slow_s))
            probes = not self._back.is_set() and await self._is_due()
            await self._limiter.acquire()
            # It may have gone again, or closed, while this one waited among all: then none of them dials.
            if self._open.is_set() and (probes or self._back.is_set()):
                return

    def _is_slow(self, *, refused: bool) -> bool:
        """Whether the key is not believed in. While sessions stand, only who was refused waits: one connection too many
        may be answered so for ever, and costs no other its place."""
        return self._refusals >= REFUSALS_TILL_SLOW and (refused or not self._standing)

    async def _is_due(self) -> bool:
        """While the exchange is away: whether it is this connection that tries. False: the exchange is back."""
        async with self._probing:
            while not self._back.is_set():
                now_s = time.monotonic()
                if now_s >= self._next_probe_s:
                    self._next_probe_s = now_s + self._pause_s(now_s)
                    return True
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._next_probe_s - now_s):
                        await self._back.wait()
        return False

    def _pause_s(self, now_s: float) -> float:
        return away_pause_s(now_s - self._away_since_s, self._probe_s, self._slow_s)

    def refused(self, status: int | None, answer: str) -> bool:
        """A dial was answered with an HTTP status, or not at all; whether the exchange counts as away."""
        if status in KEY_STATUSES:
            self._refusals += 1
            self.key_refused = answer
            return False
        if self._standing:
            return False  # it is there for others: whatever this is, it is about this connection alone
        if self._back.is_set():
            now_s = time.monotonic()
            self._back.clear()
            self._away_since_s = now_s
            self._next_probe_s = now_s + self._pause_s(now_s)
        return True

    def accepted(self) -> None:
        """A dial was accepted: the exchange is there, and the key is good."""
        self._refusals = 0
        self.key_refused = ""
        self._back.set()

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """While a session stands the exchange is there."""
        self._standing += 1
        try:
            yield
        finally:
            self._standing -= 1
