"""When a connection may be dialled: a budget for all connections, and manners towards an exchange that refuses.

One capture's connections share one `Dialing`. A key that is refused again and again is tried by one connection at a
time; while the exchange says that it is inactive, or the journal is full, nobody dials.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final

from aiolimiter import AsyncLimiter

REFUSALS_TILL_SLOW: Final = 5  # a dead key answers 401 for ever; after a clock step the next signature is good
KEY_STATUSES: Final = (401, 403)


class Dialing:
    """Permission to dial."""

    def __init__(self, dials_per_s: float, slow_s: float) -> None:
        """`slow_s`: how long one connection waits between two tries with a key that is refused."""
        self._limiter = AsyncLimiter(max(1.0, dials_per_s), 1.0)
        self._slow_s = slow_s
        self._open = asyncio.Event()
        self._open.set()
        self._one_at_a_time = asyncio.Lock()
        self._refusals = 0
        self.key_refused = ""

    def allow(self, allowed: bool) -> None:
        """Whether anybody may dial."""
        if allowed:
            self._open.set()
        else:
            self._open.clear()

    async def turn(self) -> None:
        """Wait until one dial may be made."""
        await self._open.wait()
        if self._refusals >= REFUSALS_TILL_SLOW:
            async with self._one_at_a_time:
                if self._refusals >= REFUSALS_TILL_SLOW:  # still, after those before us tried
                    await asyncio.sleep(random.uniform(self._slow_s / 2, self._slow_s))
        await self._limiter.acquire()

    def refused(self, status: int | None, answer: str) -> None:
        """A dial was answered with an HTTP status, or not at all."""
        if status in KEY_STATUSES:
            self._refusals += 1
            self.key_refused = answer

    def accepted(self) -> None:
        """A dial was accepted: the key is good."""
        self._refusals = 0
        self.key_refused = ""
