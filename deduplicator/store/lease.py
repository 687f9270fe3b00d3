"""The lease: which deduplicator may write production, and the number of every change of merged data.

`store.lease` is one row. Every transaction of a deduplicator begins by locking it: no row of its epoch, and another
one has taken over. A transaction that changes merged data takes the next step number there. The lock is held until the
commit, so steps are numbered in the order of their commits, and a transaction that is rolled back gives its number
back: without holes, whatever fails. What a snapshot of the database shows is all up to the step that it shows. What a
step changed is its row of the feed, written as the last of the transaction.

Writers that hold no lease (`fleet heal`, metadata from REST, a person) take a number too: the triggers of the merged
relations take one for any transaction that has none (`store.this_step`).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg

from common.errors import Fenced
from deduplicator.statements import SQL
from deduplicator.store.feed import FeedEntry


@dataclass(frozen=True)
class WriteStep:
    """A transaction that changes merged data; `heals`: how often `fleet heal` had written before it. `entry`: what it
    changes, for the feed."""

    number: int
    heals: int
    entry: FeedEntry


class Lease:
    """One process's right to write. `epoch`: as whom; None until it is taken."""

    def __init__(self, holder: str) -> None:
        self._holder = f"{holder}@{socket.gethostname()}"
        self.epoch: int | None = None

    def held(self) -> bool:
        """Whether it was taken: before that nothing may be written."""
        return self.epoch is not None

    async def hold(self, db: asyncpg.Connection) -> asyncpg.Record:
        """Take it, or after a lost connection continue with it. Returns the row. Raises `Fenced`."""
        return await (self.resume(db) if self.held() else self.take(db))

    async def take(self, db: asyncpg.Connection) -> asyncpg.Record:
        """Become the one that writes; the holder before is fenced off from now on. Returns the row."""
        row = await db.fetchrow(SQL["take_lease"], self._holder)
        self.epoch = row["epoch"]
        return row

    async def resume(self, db: asyncpg.Connection) -> asyncpg.Record:
        """After a lost connection, continue with the same epoch: waits for a commit of that connection that is still in
        flight. Returns the row. Raises `Fenced`."""
        async with self.locked(db):
            return await db.fetchrow("TABLE store.lease")

    @contextlib.asynccontextmanager
    async def locked(self, db: asyncpg.Connection) -> AsyncIterator[None]:
        """A transaction that changes nothing of merged data. Raises `Fenced`."""
        async with db.transaction():
            if await db.fetchval(SQL["lock_lease"], self.epoch) is None:
                raise self._fenced()
            yield

    @contextlib.asynccontextmanager
    async def step(self, db: asyncpg.Connection, kind: str) -> AsyncIterator[WriteStep]:
        """A transaction that changes merged data, under the next step number; `kind`: its writer. Raises `Fenced`."""
        async with db.transaction():
            row = await db.fetchrow(SQL["take_step"], self.epoch)
            if row is None:
                raise self._fenced()
            step = WriteStep(row["step"], row["heals"], FeedEntry(kind))
            yield step
            await step.entry.write(db)

    def _fenced(self) -> Fenced:
        return Fenced(f"another deduplicator has taken over from {self._holder} (epoch {self.epoch})")
