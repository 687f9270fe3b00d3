"""Work that a process does again and again beside what it is there for, and how that work goes.

`every` does it, waits, and does it again. What its author foresaw (a database, a bucket or the exchange is away) is
noted in its `Health`, and tried again. Anything else ends it, and `keep` begins it again after a while, by one of two
policies:

- a gatherer's task never ends its process: frames are received all the same;
- a deduplicator's task ends its process where that may write no more, as another one has taken over
  (`ends=(Fenced,)`), and for no other reason.

Nothing here keeps a cancellation back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, Literal

from common import log
from common.errors import described, first_error
from common.process import backoff_s
from common.storage.database import DATABASE_ERRORS

RETRY_FIRST_S: Final = 1.0
RETRY_MOST_S: Final = 60.0
"""Between the crashes of a task."""
CALM_S: Final = 900.0
"""A task that has run for so long is not called failing any more; longer than an alert waits for."""
LOGGED_AGAIN_S: Final = 300.0
"""A failure that lasts is logged again after so long; another one at once."""
ERROR_CHARACTERS_MAX: Final = 2000


class Health:
    """How a task goes: for `/status`, readiness, metrics and the log.

    `error` is what its last try failed of that was foreseen, and empty once one goes well; `event` is the log event of
    such a failure (empty: the failure is logged elsewhere, or by nobody). `crash` is what nobody foresaw.
    """

    def __init__(
        self,
        event: str = "",
        level: Literal["warning", "error"] = "warning",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._event, self._level, self._clock = event, level, clock
        self.error = ""
        self.crashes = 0
        self.last_crash = ""
        self._crashed_s = self._logged_s = 0.0

    @property
    def crash(self) -> str:
        """What nobody foresaw and it failed of lately; empty: nothing."""
        return self.last_crash if self._clock() - self._crashed_s < CALM_S else ""

    @property
    def failing(self) -> bool:
        """Whether a person should look."""
        return bool(self.error or self.crash)

    def well(self) -> None:
        """A try went well."""
        self.error = ""

    def failed(self, error: Exception) -> None:
        """A try failed of what was foreseen."""
        text, now = described(error)[:ERROR_CHARACTERS_MAX], self._clock()
        if self._event and (text != self.error or now - self._logged_s >= LOGGED_AGAIN_S):
            self._logged_s = now
            (log.get().warning if self._level == "warning" else log.get().error)(self._event, error=text)
        self.error = text

    def crashed(self, task: str, error: BaseException) -> None:
        """The task failed of what nobody foresaw. The trace is logged when it is another failure than the last."""
        text = described(error)[:ERROR_CHARACTERS_MAX]
        new = text != self.crash
        self.crashes += 1
        self.last_crash, self._crashed_s = text, self._clock()
        log.get().error("task_failed", task=task, error=text, exc_info=error if new else None)


async def every(
    wait_s: float | Callable[[], float],
    do: Callable[[], Awaitable[object]],
    health: Health,
    *,
    first_s: float | None = None,
    when: Callable[[], bool] | None = None,
    foreseen: tuple[type[Exception], ...] = DATABASE_ERRORS,
    retry_s: Callable[[], Iterator[float]] | None = None,
) -> None:
    """Do it again and again until cancelled, with `wait_s` between. Raises what `do` raises and is not `foreseen`.

    `first_s`: before the first time, if not as long as between. `when`: whether there is anything to do; while there is
    not, what became of the last try stands. `retry_s`: the waits after failures in a row, if they are others.
    """

    def pause_s() -> float:
        return wait_s() if callable(wait_s) else wait_s

    await asyncio.sleep(pause_s() if first_s is None else first_s)
    retries: Iterator[float] | None = None
    while True:
        pause = None
        if when is None or when():
            try:
                await do()
            except foreseen as error:
                health.failed(error)
                if retry_s is not None:
                    retries = retries or retry_s()
                    pause = next(retries)
            else:
                health.well()
                retries = None
        await asyncio.sleep(pause_s() if pause is None else pause)


async def keep(
    task: str, run: Callable[[], Awaitable[None]], health: Health, ends: tuple[type[Exception], ...] = ()
) -> None:
    """Run a task until it is done or cancelled; what it raises is noted, and it begins again after a while.

    `ends`: errors that end the process instead; they are raised.
    """
    delays = backoff_s(RETRY_FIRST_S, RETRY_MOST_S)
    while True:
        await asyncio.sleep(next(delays))
        try:
            await run()
            return
        except Exception as error:
            cause = _cause(error, ends)
            if isinstance(cause, ends):
                raise cause from None
            if not health.crash:
                delays = backoff_s(RETRY_FIRST_S, RETRY_MOST_S)
            health.crashed(task, cause)


def _cause(error: Exception, ends: tuple[type[Exception], ...]) -> BaseException:
    """Of several that came together the most telling one: one that ends the process, if there is one."""
    return first_error(error.subgroup(ends) or error) if isinstance(error, ExceptionGroup) else error
