"""Following the feed from a place: every step after it, once, in order, or an error. It never stops silently.

The reader's rule: the next step is exactly the place and one. A hole is an error, a place older than what is kept is
`FeedPassed`, and production that is not the one that was read (put back, or another) is `FeedReplaced`. A consumer
keeps its place in the transaction that stores what it made of a step.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg
import pyarrow as pa

from common import log
from common.errors import FeedError, FeedPassed, FeedReplaced, StorageError, described
from common.feed.block import decode
from common.feed.statements import SQL
from common.process import backoff_s
from common.storage.database import DATABASE_ERRORS, connect

CHANNEL: Final = "kalshi_feed"
POLL_S: Final = 1.0
"""A notice may be lost (a proxy between, a pool): so long at most nothing is asked."""
ANSWER_MS: Final = 30_000
STEPS_AT_ONCE: Final = 256
BYTES_AT_ONCE: Final = 16 << 20
RETRY_FIRST_S: Final = 0.1
RETRY_MOST_S: Final = 10.0


@dataclass(frozen=True)
class FeedStep:
    """One transaction. `tables`: what it changed, by name (`tables.TABLES`)."""

    step: int
    committed_at: datetime
    kind: str
    rows: int
    from_ms: int | None
    to_ms: int | None
    tables: dict[str, pa.RecordBatch]
    whole: bool
    """Whether what it changed is in `tables`; if not, a consumer begins again from an exact start."""


class Feed:
    """A reader of production's feed, at a place: the last step that it need not see.

    `committed_at`: when that step was, if it is known: then production that was put back is found out.
    """

    def __init__(self, dsn: str, after: int, committed_at: datetime | None = None, poll_s: float = POLL_S) -> None:
        self._dsn, self._poll_s = dsn, poll_s
        self.place, self.committed_at = after, committed_at
        self.reconnects = 0
        self._woken = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[FeedStep]:
        """Steps, for ever: a lost connection is made again. Raises `FeedError`, and `StorageError` of what no other try
        mends."""
        delays = backoff_s(RETRY_FIRST_S, RETRY_MOST_S)
        while True:
            try:
                async with self._connected() as db:
                    await self._check(db)
                    while True:
                        asked = self.place
                        self._woken.clear()
                        async for step in self._read(db):
                            delays = backoff_s(RETRY_FIRST_S, RETRY_MOST_S)
                            yield step
                        if self.place == asked:
                            await self._wait()
            except DATABASE_ERRORS as error:
                if isinstance(error, StorageError) and not error.retryable and not self.reconnects:
                    raise
                if isinstance(error, asyncpg.InsufficientPrivilegeError | asyncpg.UndefinedTableError):
                    raise StorageError(f"the feed cannot be read: {error}") from error
                self.reconnects += 1
                log.get().warning("feed_interrupted", place=self.place, error=described(error))
                await asyncio.sleep(next(delays))

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[asyncpg.Connection]:
        db = await connect(self._dsn, ANSWER_MS)
        try:
            await db.add_listener(CHANNEL, lambda *_: self._woken.set())
            db.add_termination_listener(lambda _: self._woken.set())
            yield db
        finally:
            db.terminate()

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._poll_s):
                await self._woken.wait()

    async def _check(self, db: asyncpg.Connection) -> None:
        """Whether the place is one of this feed."""
        oldest, newest = await db.fetchrow(SQL["ends"])
        if self.place > newest:
            raise FeedReplaced(self.place, f"its last step is {newest}")
        first = newest + 1 if oldest is None else oldest
        if self.place + 1 < first:
            raise FeedPassed(self.place, first, await db.fetchval(SQL["archived_from"], self.place + 1))

    async def _read(self, db: asyncpg.Connection) -> AsyncIterator[FeedStep]:
        found = await db.fetch(SQL["read"], self.place, STEPS_AT_ONCE, BYTES_AT_ONCE)
        if found and found[0]["step"] == self.place:
            at = found.pop(0)["committed_at"]
            if self.committed_at is not None and at != self.committed_at:
                raise FeedReplaced(self.place, f"that step was committed at {self.committed_at}, and here at {at}")
            self.committed_at = at
        for row in found:
            if row["step"] != self.place + 1:
                await self._check(db)
                raise FeedError(f"after step {self.place} the feed has step {row['step']}: steps are missing")
            block = row["block"]
            tables = {} if block is None else decode(block)
            columns = {name: value for name, value in row.items() if name != "block"}
            step = FeedStep(**columns, tables=tables, whole=block is not None)
            self.place, self.committed_at = step.step, step.committed_at
            yield step


async def place_since(db: asyncpg.Connection, at: datetime) -> int:
    """The place from which all is read that was committed since a time. Raises `FeedPassed` if it is no longer kept."""
    oldest, _ = await db.fetchrow(SQL["ends"])
    place: Any = await db.fetchval(SQL["first_since"], at)
    if oldest is not None and oldest > 1 and place == oldest - 1:
        raise FeedPassed(place - 1, oldest, await db.fetchval(SQL["archived_since"], at))
    return int(place)
