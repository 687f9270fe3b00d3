"""The number of every transaction that changes merged data."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import asyncpg
import pytest

from common.errors import Fenced
from common.storage import migrate
from deduplicator.store.lease import Lease
from tests.support.databases import Database, new_database


@pytest.fixture
async def server() -> AsyncIterator[Database]:
    """A production database."""
    async with new_database() as made:
        await asyncio.to_thread(migrate.migrate, made.dsn, "production")
        yield made


class Changed(Exception):
    """A writer changed its mind."""


async def test_steps_are_numbered_in_the_order_of_their_commits_without_holes(server: Database) -> None:
    """Writers at the same time, a fifth of them rolled back; a reader that polls misses none."""
    connections = [await asyncpg.connect(server.dsn) for _ in range(5)]
    reader, writers = connections[0], connections[1:]
    await reader.execute("CREATE TABLE written (step bigint PRIMARY KEY)")
    lease = Lease("test")
    await lease.take(reader)
    committed: list[int] = []

    async def write(db: asyncpg.Connection, luck: random.Random) -> None:
        for _ in range(30):
            with contextlib.suppress(Changed):
                async with lease.step(db, "test") as step:
                    await db.execute("INSERT INTO written VALUES ($1)", step.number)
                    if luck.random() < 0.2:
                        raise Changed
                    if luck.random() < 0.3:
                        assert await db.fetchval("SELECT store.this_step()") == step.number
                committed.append(step.number)

    async def read() -> list[int]:
        seen: list[int] = []
        while not done.is_set():
            async with reader.transaction(isolation="repeatable_read", readonly=True):
                newest = await reader.fetchval("SELECT step FROM store.lease")
                seen += [
                    row[0]
                    for row in await reader.fetch("SELECT step FROM written WHERE step > $1 ORDER BY 1", len(seen))
                ]
                assert len(seen) == newest, "a snapshot shows all up to the step that it shows"
        return seen

    done = asyncio.Event()
    reading = asyncio.create_task(read())
    await asyncio.gather(*(write(db, random.Random(n)) for n, db in enumerate(writers)))
    await asyncio.sleep(0.05)
    done.set()
    seen = await reading
    assert sorted(committed) == seen == list(range(1, len(committed) + 1))
    assert 60 < len(committed) < 120
    for db in connections:
        await db.close()


async def test_a_writer_without_the_lease_takes_a_number_too_and_a_fenced_one_gets_none(server: Database) -> None:
    """`fleet heal`, or a person: once a transaction, given back with it; a savepoint that is undone takes it along."""
    db = await asyncpg.connect(server.dsn)
    lease, other = Lease("test"), Lease("other")
    await lease.take(db)
    async with lease.step(db, "test") as first, lease.locked(db):
        pass
    async with db.transaction():
        assert await db.fetchval("SELECT store.this_step()") == first.number + 1
        assert await db.fetchval("SELECT store.this_step()") == first.number + 1
    with contextlib.suppress(Changed):
        async with db.transaction():
            await db.fetchval("SELECT store.this_step()")
            raise Changed
    async with db.transaction():
        with contextlib.suppress(Changed):
            async with db.transaction():
                await db.fetchval("SELECT store.this_step()")
                raise Changed
        assert await db.fetchval("SELECT store.this_step()") == first.number + 2
    await other.take(db)
    for fenced in (lease.step(db, "test"), lease.locked(db), contextlib.aclosing(_resumed(lease, db))):
        with pytest.raises(Fenced, match="taken over"):
            async with fenced as resumed:
                await anext(resumed)  # type: ignore[arg-type]
    assert await db.fetchval("SELECT step FROM store.lease") == first.number + 2
    await db.close()


async def _resumed(lease: Lease, db: asyncpg.Connection):  # type: ignore[no-untyped-def]
    yield await lease.resume(db)
