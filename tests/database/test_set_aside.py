"""One bad entry affects only itself: it is set aside, tried again after a growing wait; the others are processed."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from common.errors import AuthenticationError, ExchangeError, ExchangeUnavailable, Fenced, OddAnswer, StorageError
from common.set_aside import KEPT_MAX, SHARED_WAIT_S, STALE_S, SetAside
from common.storage import migrate
from deduplicator.store.lease import Lease
from deduplicator.store.production import Production
from deduplicator.store.set_aside import KeptSetAside
from tests.support.databases import Database


class Clock:
    """Does not run."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        """What it shows."""
        return self.now


def fails(aside: SetAside, key: object, error: Exception, kind: str = "gap") -> None:
    """One entry's work."""
    with aside.one(kind, key):
        raise error


def test_an_entry_that_fails_waits_longer_each_time_and_is_gone_once_it_works() -> None:
    """Only that entry waits."""
    clock = Clock()
    aside = SetAside(clock)
    waits = []
    for _ in range(4):
        fails(aside, 7, ValueError("no number"))
        entry = aside.entry("gap", "7")
        assert entry is not None and aside.waits("gap", 7) and not aside.waits("gap", 8)
        waits.append(entry.retry_s - clock.now)
        clock.now = entry.retry_s
        assert not aside.waits("gap", 7)
    assert waits == [2, 4, 8, 16]
    assert (
        entry is not None
        and entry.tries == 4
        and entry.reason == "ValueError: no number"
        and aside.counts() == {"gap": 1}
    )
    with aside.one("gap", 7):
        pass
    assert aside.counts() == {"gap": 0} and aside.status()["gap"].ever == 1


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        KeyError("x"),
        AssertionError(),
        OddAnswer("null"),
        ExchangeError("no", 404),
        asyncpg.DataError("x"),
    ],
)
def test_what_is_an_entrys_own_never_ends_the_round(error: Exception) -> None:
    """However many of them there are."""
    aside = SetAside()
    for key in range(50):
        fails(aside, key, error)
    assert aside.counts() == {"gap": 50}


@pytest.mark.parametrize(
    "error", [ExchangeUnavailable("503"), AuthenticationError("401", 401), StorageError("bucket"), TimeoutError()]
)
def test_three_that_fail_in_a_row_for_what_may_be_nobodys_own_end_the_round(error: Exception) -> None:
    """And none of them waits long for it; one that works, or has a fault of its own, begins the count again."""
    clock = Clock()
    aside = SetAside(clock)
    fails(aside, 1, error)
    fails(aside, 2, error)
    with aside.one("gap", 3):
        pass
    fails(aside, 1, error)
    fails(aside, 2, error)
    with pytest.raises(type(error)):
        fails(aside, 4, error)
    for _ in range(30):
        try:
            fails(aside, 1, error)
        except type(error):
            pass
    entry = aside.entry("gap", "1")
    assert entry is not None and entry.retry_s - clock.now <= SHARED_WAIT_S


@pytest.mark.parametrize("error", [asyncpg.InterfaceError("connection is closed"), asyncpg.AdminShutdownError("bye")])
def test_nobody_there_ends_the_round_at_once(error: Exception) -> None:
    """And the entry is not tried first again: it may be what drove them away."""
    aside = SetAside()
    with pytest.raises(type(error)):
        fails(aside, 1, error)
    assert aside.waits("gap", 1)


def test_losing_the_lease_is_passed_on_and_is_no_entrys_fault() -> None:
    """Nothing is noted."""
    aside = SetAside()
    with pytest.raises(Fenced):
        fails(aside, 1, Fenced("gone"))
    assert not aside.counts()


def test_its_size_is_bounded_and_what_nobody_tries_any_more_is_forgotten() -> None:
    """Texts that no database holds are made storable."""
    clock = Clock()
    aside = SetAside(clock)
    for key in range(KEPT_MAX + 10):
        clock.now += 1
        aside.note("row", f"{key} \x00 \ud800 {'x' * 1000}", "why")
    assert aside.counts() == {"row": KEPT_MAX} and aside.status()["row"].ever == KEPT_MAX + 10
    assert all(len(key) <= 200 and "\x00" not in key and key.encode() for key in aside.keys("row"))
    clock.now += STALE_S + 10
    aside.forget_stale()
    assert aside.counts() == {"row": 0}


async def test_it_is_kept_in_production_over_a_restart(server: Database) -> None:
    """With its waits; what is mended is gone there too."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "production")
    db = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    writer = Production(db, "test")
    await writer.take_lease()
    first = SetAside()
    kept = KeptSetAside(first, server.dsn, 10_000, writer.lease)
    await kept.look()
    fails(first, 1, ValueError("no \x00 number"))
    fails(first, 2, ValueError("x"))
    await kept.look()
    assert await db.fetchval("SELECT reason FROM set_aside WHERE key = '1'") == "ValueError: no \\0 number"
    second = SetAside()
    again = KeptSetAside(second, server.dsn, 10_000, writer.lease)
    await again.look()
    assert (
        second.waits("gap", 1) and second.counts() == {"gap": 2} and first.entry("gap", "1") == second.entry("gap", "1")
    )
    with second.one("gap", 1):
        pass
    await again.look()
    assert [row[0] for row in await db.fetch("SELECT key FROM set_aside")] == ["2"]
    other = Lease("other")
    other.epoch = 99
    fails(second, 3, ValueError("x"))
    with pytest.raises(Fenced):
        await KeptSetAside(second, server.dsn, 10_000, other).look()
    await db.close()
