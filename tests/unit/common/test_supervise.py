"""Supervised work: what is tried again and after how long, what is noted, what ends the process, and what never may."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from common.errors import DatabaseUnreachable, Fenced, StorageError
from common.storage.database import DATABASE_ERRORS
from common.supervise import CALM_S, LOGGED_AGAIN_S, RETRY_MOST_S, Health, every, keep

SLEEP = asyncio.sleep


class Script:
    """Work that does one thing after the other: raises an error, or nothing; then it is cancelled."""

    def __init__(self, *does: BaseException | None) -> None:
        self._does = list(does)
        self.tries = 0

    async def __call__(self) -> None:
        self.tries += 1
        does = self._does.pop(0) if self._does else asyncio.CancelledError()
        if does is not None:
            raise does


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits, in seconds; none takes any time."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)
        await SLEEP(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return found


async def ended(work: Any) -> None:
    """The script was done to its end: only its cancellation ended it."""
    with pytest.raises(asyncio.CancelledError):
        await work


AWAY = (DatabaseUnreachable("away"), OSError("cut"), TimeoutError("slow"))


async def test_what_was_foreseen_is_noted_and_tried_again(waits: list[float]) -> None:
    """After the same wait, if nothing else is asked for; once it goes well nothing is noted any more."""
    health = Health()
    await ended(every(7, Script(*AWAY), health))
    assert waits == [7] * 4 and health.error == "TimeoutError: slow" and health.failing and not health.crashes
    await ended(every(7, Script(*AWAY, None), health, first_s=0))
    assert waits[4:] == [0, *[7] * 4] and not health.error and not health.failing


async def test_failures_in_a_row_wait_as_is_asked_for(waits: list[float]) -> None:
    """And from the first wait on again after a try that went well."""

    def longer() -> Iterator[float]:
        yield from (1, 2, 3)

    failed = StorageError("away")
    await ended(every(9, Script(failed, failed, None, None, failed), Health(), first_s=0, retry_s=longer))
    assert waits == [0, 1, 2, 9, 9, 1]


async def test_a_wait_may_depend_on_what_was_done(waits: list[float]) -> None:
    """It is asked for after each try."""
    given = iter((5.0, 6.0, 7.0))
    await ended(every(lambda: next(given), Script(None, OSError()), Health()))
    assert waits == [5, 6, 7]


async def test_the_result_of_the_last_try_stays_while_there_is_nothing_to_do(waits: list[float]) -> None:
    """Such a turn is no try."""
    health = Health()
    due = iter((True, False, False))
    seen: list[str] = []

    def when() -> bool:
        seen.append(health.error)
        return next(due)

    work = Script(OSError("cut"))
    with pytest.raises(RuntimeError):  # of the test's own end
        await every(1, work, health, when=when)
    assert work.tries == 1 and seen == ["", *["OSError: cut"] * 3]


async def test_what_nobody_foresaw_is_not_tried_again_here(waits: list[float]) -> None:
    """It is for the policy."""
    health = Health()
    with pytest.raises(KeyError):
        await every(1, Script(None, KeyError("x")), health)
    with pytest.raises(StorageError):
        await every(1, Script(StorageError()), health, foreseen=(OSError,))
    assert not health.failing


@pytest.mark.parametrize("seconds", [0.0, 1000.0])
async def test_a_cancellation_is_never_kept_back(seconds: float) -> None:
    """Whether it comes during the work or the wait, whatever is foreseen, and in either policy."""

    async def works() -> None:
        await asyncio.sleep(1000 - seconds)

    for work in (
        every(seconds, works, Health(), foreseen=(Exception,)),
        keep("a", lambda: every(seconds, works, Health()), Health()),
        keep("a", lambda: every(seconds, works, Health()), Health(), ends=(Fenced,)),
    ):
        task = asyncio.create_task(work)
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()


async def test_nothing_ends_a_gatherer(waits: list[float]) -> None:
    """A task is begun again whatever it raised; it is counted, and shown until it was calm for long."""
    now = 10_000.0
    health = Health(clock=lambda: now)
    group = ExceptionGroup("", [KeyError("b"), ExceptionGroup("", [Fenced("taken")])])
    with capture_logs() as logs:
        await ended(
            keep("registry", Script(KeyError("a"), KeyError("a"), MemoryError(), Fenced("taken"), group), health)
        )
    assert health.crashes == 5 and health.last_crash == "Fenced: taken", "of a group the fleet's own"
    assert [line["event"] for line in logs] == ["task_failed"] * 5 and {line["task"] for line in logs} == {"registry"}
    assert [line["exc_info"] is None for line in logs] == [False, True, False, False, True], "a trace once"
    assert waits[:2] == [0, 0] and all(wait <= RETRY_MOST_S for wait in waits) and waits[2] <= 1
    assert health.failing and health.crash
    now += CALM_S
    assert not health.failing and not health.crash and health.last_crash


async def test_a_deduplicator_ends_where_another_has_taken_over_and_for_nothing_else(waits: list[float]) -> None:
    """Alone, or among others."""
    health = Health()
    others = (KeyError(), StorageError(), OSError(), MemoryError(), ExceptionGroup("", [KeyError(), StorageError()]))
    for fenced in (Fenced("taken"), ExceptionGroup("", [StorageError(), ExceptionGroup("", [Fenced("taken")])])):
        work = Script(*others, fenced)
        with pytest.raises(Fenced):
            await keep("refill", work, health, ends=(Fenced,))
        assert work.tries == 6
    assert health.crashes == 10 and "Fenced" not in health.last_crash


async def test_another_one_that_has_taken_over_is_no_storage_error(waits: list[float]) -> None:
    """A loop that tries again what a database does tries no write again that it may not do."""
    health = Health()
    with pytest.raises(Fenced):
        await every(1, Script(None, Fenced("taken")), health)
    assert not issubclass(Fenced, DATABASE_ERRORS) and not health.failing


async def test_a_task_that_is_done_is_not_begun_again(waits: list[float]) -> None:
    """A check, for one."""
    work = Script(KeyError(), None)
    await keep("check", work, Health())
    assert work.tries == 2


def test_a_failure_that_lasts_is_logged_now_and_then() -> None:
    """Another one at once, and the same again after it had gone."""
    now = 0.0
    health = Health("export_failed", clock=lambda: now)
    with capture_logs() as logs:
        for at, error in ((0, "a"), (1, "a"), (2, "b"), (3, "b"), (2 + LOGGED_AGAIN_S, "b"), (3 + LOGGED_AGAIN_S, "")):
            now = at
            health.failed(OSError(error)) if error else health.well()
        health.failed(OSError("b"))
    assert [line["error"][-1] for line in logs] == ["a", "b", "b", "b"]
    assert {(line["event"], line["log_level"]) for line in logs} == {("export_failed", "warning")}
    with capture_logs() as logs:
        Health("journal_keeping_failed", "error").failed(OSError())
        Health().failed(OSError())
    assert [line["log_level"] for line in logs] == ["error"], "without an event nobody is bothered"
