"""Tasks beside the merge: what one of them meets that nobody foresaw ends neither the merge nor the others.

It is logged with its trace, counted, and the task begins again after a while. Only the lease ends the process: another
deduplicator has taken over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from common import log
from common.errors import Fenced
from common.process import backoff_s

RETRY_FIRST_S: Final = 1.0
RETRY_MOST_S: Final = 60.0
CALM_S: Final = 900.0
"""A task that has run for so long is not called failing any more; longer than an alert waits for."""


class Supervised:
    """A task that is begun again. `run`: the task, until it is cancelled."""

    def __init__(self, name: str, run: Callable[[], Awaitable[None]], first_s: float = RETRY_FIRST_S) -> None:
        self.name, self._run, self._first_s = name, run, first_s
        self.crashes = 0
        self._error = ""
        self._crashed_s = 0.0

    @property
    def error(self) -> str:
        """What it failed of lately; empty: of nothing."""
        return self._error if time.monotonic() - self._crashed_s < CALM_S else ""

    async def keep(self) -> None:
        """Run it until cancelled. Raises `Fenced`."""
        delays = backoff_s(self._first_s, RETRY_MOST_S)
        while True:
            delay = next(delays)
            await asyncio.sleep(delay)
            try:
                await self._run()
                return
            except Fenced:
                raise
            except Exception as error:
                if not self.error:
                    delays = backoff_s(self._first_s, RETRY_MOST_S)
                self.note(error)

    def note(self, error: Exception) -> None:
        """It failed of something that nobody foresaw."""
        why = f"{type(error).__name__}: {error}"
        new = why != self.error
        self.crashes += 1
        self._error, self._crashed_s = why, time.monotonic()
        log.get().error("task_failed", task=self.name, error=why, exc_info=error if new else None)
